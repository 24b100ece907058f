"""The configuration tree, shipped as the package lit_mlfund.conf."""
