-- Rows of imported logs stay, and plinth audit verify then calls them backdated.
drop function
  private.announce_audit_import(text),
  private.audit_import_id(timestamptz),
  private.import_casbin_rules(text, jsonb),
  private.casbin_row_id(bigint),
  private.casbin_rbac_model();
