"""What people and jobs do, one module a deed."""
