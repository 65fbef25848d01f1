import type { Template } from "../template.ts";
import { accountDeleted } from "./account-deleted.ts";
import { accountDeletionCanceled } from "./account-deletion-canceled.ts";
import { accountDeletionRequested } from "./account-deletion-requested.ts";
import { accountLocked } from "./account-locked.ts";
import { addressTaken } from "./address-taken.ts";
import { apiTokenCreated } from "./api-token-created.ts";
import { dataExportReady } from "./data-export-ready.ts";
import { dataExportRequested } from "./data-export-requested.ts";
import { emailChanged } from "./email-changed.ts";
import { mfaChanged } from "./mfa-changed.ts";
import { newSignIn } from "./new-sign-in.ts";
import { oauthChanged } from "./oauth-changed.ts";
import { passwordChanged } from "./password-changed.ts";
import { passwordReset } from "./password-reset.ts";
import { phoneChanged } from "./phone-changed.ts";
import { phoneCode } from "./phone-code.ts";
import { securitySettingsChanged } from "./security-settings-changed.ts";
import { sessionEnded } from "./session-ended.ts";
import { suspiciousActivity } from "./suspicious-activity.ts";
import { verifyEmail } from "./verify-email.ts";

/** The templates by the name that is passed to private.queue_mail. */
export const TEMPLATES: Readonly<Record<string, Template>> = {
  "account-deleted": accountDeleted,
  "account-deletion-canceled": accountDeletionCanceled,
  "account-deletion-requested": accountDeletionRequested,
  "account-locked": accountLocked,
  "address-taken": addressTaken,
  "api-token-created": apiTokenCreated,
  "data-export-ready": dataExportReady,
  "data-export-requested": dataExportRequested,
  "email-changed": emailChanged,
  "mfa-changed": mfaChanged,
  "new-sign-in": newSignIn,
  "oauth-changed": oauthChanged,
  "password-changed": passwordChanged,
  "password-reset": passwordReset,
  "phone-changed": phoneChanged,
  "phone-code": phoneCode,
  "security-settings-changed": securitySettingsChanged,
  "session-ended": sessionEnded,
  "suspicious-activity": suspiciousActivity,
  "verify-email": verifyEmail,
};
