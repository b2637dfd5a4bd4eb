"""The router agent that turns ModelRoutes into Envoy configuration."""
