import { DENIED, type Probe } from "./probe.ts";
import { own } from "./recurring.ts";

export const IDENTITY: Readonly<Record<string, readonly Probe[]>> = {
  "identity.users": [
    ["ada", "select from identity.users", 1],
    ["manage_users", "select from identity.users where username in ('ada', 'bob')", 2],
    ["delete_user", "select from identity.users where username in ('ada', 'bob')", 2],
    ["ada", "update identity.users set profile_data = '{}'", 1],
    ["ada", "update identity.users set id = :new", DENIED],
    ["ada", "delete from identity.users where username = 'ada'", 0],
    ["delete_user", "delete from identity.users where username = 'bob'", 1],
    ["delete_user", "delete from identity.users where username = 'manage_users'", 0],
  ],
  "identity.user_settings": own("identity.user_settings", "display_name = 'x'"),
  "identity.user_security_settings": own("identity.user_security_settings", "session_timeout_minutes = 5"),
  "identity.user_preferences": own("identity.user_preferences", "confidence = 0"),
  "plinth.external_ids": [["ada", "select from plinth.external_ids", 1]],
  "identity.mfa_factors": own("identity.mfa_factors", "name = 'y'"),
  "identity.user_sessions": own("identity.user_sessions", "device_name = 'x'"),
  "identity.api_tokens": [
    ["ada", "select from identity.api_tokens", 1],
    ["manage_users", "select from identity.api_tokens", 2],
  ],
  "identity.consent_purposes": [
    ["visitor", "select from identity.consent_purposes", 1],
    ["ada", "select from identity.consent_purposes", 1],
    ["manage_consents", "select from identity.consent_purposes", 2],
    [
      "ada",
      "insert into identity.consent_purposes (name, version, title, text_url) values ('x', 1, 'x', 'https://x')",
      DENIED,
    ],
    ["manage_consents", "update identity.consent_purposes set title = 'x' where version = 2", 1],
    ["manage_consents", "delete from identity.consent_purposes where version = 2", 1],
  ],
  "identity.consents": [["ada", "select from identity.consents", 1]],
  "identity.oauth_profiles": [["ada", "select from identity.oauth_profiles", 1]],
  "identity.data_rights_settings": [
    ["ada", "select from identity.data_rights_settings", 1],
    ["ada", "update identity.data_rights_settings set deletion_grace_period = '0'", 0],
    ["manage_security", "update identity.data_rights_settings set deletion_grace_period = '0'", 1],
  ],
  "identity.account_deletions": [
    ["ada", "select from identity.account_deletions", 1],
    ["manage_users", "select from identity.account_deletions", 0],
    ["delete_user", "select from identity.account_deletions", 0],
  ],
  "identity.data_exports": [
    ["ada", "select from identity.data_exports", 1],
    ["manage_users", "select from identity.data_exports", 0],
  ],
};
