"""What is deployed: the bundles, and the infrastructure they run on."""
