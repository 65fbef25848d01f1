import type { Probe } from "./probe.ts";
import { log, rules } from "./recurring.ts";

export const SECURITY: Readonly<Record<string, readonly Probe[]>> = {
  "security.login_attempts": log("security.login_attempts", "true"),
  "security.security_audit_log": [
    ...log("security.security_audit_log", "event_type = 'probe'"),
    ["ada", "select from security.security_audit_log where event_type = 'probe_of_another'", 0],
  ],
  "security.audit_trail": log("security.audit_trail", "table_name = 'probe'"),
  "security.error_logs": [
    ["ada", "select from security.error_logs", 0],
    ["view_audit_log", "select from security.error_logs", 2],
  ],
  "security.personal_data_reads": [
    ["ada", "select from security.personal_data_reads", 0],
    ["view_audit_log", "select from security.personal_data_reads", 2],
  ],
  "security.retention_policies": [
    ["ada", "select from security.retention_policies", 0],
    ["view_audit_log", "select from security.retention_policies where log = 'server_log'", 1],
    ["manage_security", "select from security.retention_policies where log = 'server_log'", 1],
    [
      "view_audit_log",
      "update security.retention_policies set kept_for = '90 days' where log = 'server_log'",
      0,
    ],
    [
      "manage_security",
      "update security.retention_policies set kept_for = '90 days' where log = 'server_log'",
      1,
    ],
  ],
  "security.column_classes": [
    ["ada", "select from security.column_classes", 0],
    [
      "view_audit_log",
      "select from security.column_classes where table_name = 'archives' and column_name = 'log'",
      1,
    ],
    [
      "manage_security",
      "select from security.column_classes where table_name = 'archives' and column_name = 'log'",
      1,
    ],
  ],
  "security.legal_holds": [
    ["ada", "select from security.legal_holds", 0],
    ["bob", "select from security.legal_holds", 0],
    ["view_audit_log", "select from security.legal_holds", 0],
    ["manage_security", "select from security.legal_holds", 1],
  ],
  "security.erasure_certificates": [
    ["ada", "select from security.erasure_certificates", 0],
    ["view_audit_log", "select from security.erasure_certificates", 1],
    ["manage_security", "select from security.erasure_certificates", 1],
  ],
  "security.archives": [
    ["ada", "select from security.archives", 0],
    ["view_audit_log", "select from security.archives", 1],
    ["manage_security", "select from security.archives", 1],
  ],
  "security.rate_limit_rules": rules("security.rate_limit_rules", "rule_name = 'login_per_address'"),
  "security.suspicious_activity_rules": rules(
    "security.suspicious_activity_rules",
    "rule_name = 'token_reuse'",
  ),
};
