"""Generates the CustomResourceDefinitions from the models: `python -m perennial_api.crds --write | --check`.

`definitions` says how each kind is presented, `schema` turns a model into a structural OpenAPI v3 schema, `files`
renders the YAML and says where it belongs.
"""
