"""The API of workflow authors: stages, workflows, and the contexts of bodies. It knows no store and no host."""
