"""The bases between `OrdinalMethod` and the published methods, their types and optimisers."""
