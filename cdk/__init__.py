"""The deployment: the bundles, and the infrastructure that they run on."""
