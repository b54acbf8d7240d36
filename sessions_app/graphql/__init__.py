"""GraphQL of studies: sessions, subjects, clients, the audit log."""
