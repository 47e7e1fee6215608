"""What a release consists of: the package that Cloud Run functions build, its bill of materials, the audit."""
