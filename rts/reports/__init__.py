"""What people read: page figures, documents and exports."""
