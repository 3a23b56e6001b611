"""Claims and inputs for models of other libraries: one file each, which imports its library; `import canonize` loads none."""
