"""The router agent: turns ModelRoutes and EndpointSlices into Envoy's files, and reads back what Envoy did."""
