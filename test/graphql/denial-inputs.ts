import { RBAC_MODEL } from "../support/access-probes/casbin-model.ts";
import { IDS } from "../support/access-probes/ids.ts";

/** Rows beyond those of SEED that mutations need to succeed. */
export const MORE_ROWS = `
  insert into access.roles (id, role_name) values (:lobby, 'to_delete');
  insert into access.role_permissions (role_id, permission_id)
    select :lobby, id from access.permissions where permission_name = 'spare';
  insert into access.casbin_models (name, definition) values ('a-model-without-rules', '${RBAC_MODEL}');
  insert into llm.messages (id, chat_id, user_id, parent_id, role, content)
    values (:lobby, :ada, :ada, :ada, 'user', 'x'), (:closed, :ada, :ada, :ada, 'user', 'y');
  insert into llm.message_deltas (message_id, user_id, sequence, content) values (:ada, :ada, 2, 'x');
  update private.turns set last_sequence = 2;
  update security.rate_limit_rules set limit_value = 1000000;
  update billing.usage_limits set max_tokens = 1000000;
  update learning.training set status = 'active' where user_id = :bob;
  delete from llm.conversation_memories;
  delete from llm.memories;
  delete from private.user_keys;
  insert into rooms.user_blocks (user_id, blocked_id) values (:bob, :chief);
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
    values (:ada, '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo', 'argon2id');
  update billing.user_subscriptions set current_period_end = now() + interval '1 month';
  insert into rooms.room_messages (id, room_id, sender_id, content) values (:shown, :own, :ada, 'x');
  insert into rooms.room_message_revisions (message_id, revision, author_id, actor_id, change, content)
    values (:shown, 1, :ada, :ada, 'deleted', 'x');
  update rooms.room_messages set content = '', is_deleted = true, deleted_at = now() where id = :shown;
`;

/** Functions with the faults that the walk looks for: one reveals that a chat exists, the other succeeds and does nothing. */
export const leakyFunctions = (rolePrefix: string): string => `
  create function llm.reveal_chat(chat_id uuid) returns integer language plpgsql volatile security definer as $$
  begin
    update llm.chats c set title = 'x' where c.id = chat_id and c.user_id = plinth.current_user_id();
    if not found then
      raise exception 'x' using errcode = case when exists (select from llm.chats c where c.id = chat_id) then 'PL403' else 'PL404' end;
    end if;
    return 1;
  end $$;
  create function llm.ignore_chat(chat_id uuid) returns integer language plpgsql volatile as $$
  begin
    update llm.chats c set title = 'x' where c.id = chat_id;
    return 1;
  end $$;
  grant execute on function llm.reveal_chat(uuid), llm.ignore_chat(uuid) to ${rolePrefix}_user;
`;

/** Tables that an argument refers to, if no column has its name. */
export const REFERS_TO: Readonly<Record<string, readonly string[]>> = {
  announceIn: ["rooms.chat_rooms"],
  id: ["identity.api_tokens"],
  mentions: ["identity.users"],
  newParentId: ["learning.content_categories"],
  recipients: ["identity.users"],
  // Chosen by the client; they name no row of another user.
  eventId: [],
  idempotencyKey: [],
};

type Options = Readonly<Record<string, readonly unknown[]>>;

/** Values that the walk cannot find by itself, by mutation and argument; also of optional arguments. */
export const OPTIONS: Readonly<Record<string, Options>> = {
  appendDelta: { content: ["x"], sequence: [3] },
  appendDeltas: { firstSequence: [3] },
  createApiToken: { scopes: [["read"]] },
  explainAccess: { operation: ["select"], object: ["llm.chats"] },
  giveConsent: { purpose: ["terms"] },
  grantRole: { roleName: ["user"] },
  labelPrompt: { version: [1] },
  register: { username: ["eve"], password: ["a few unrelated words, in a row"] },
  replaceCasbinPolicy: { model: ["default"], definition: [RBAC_MODEL], rules: [[["p", "x", "y", "z"]]] },
  requestPhoneVerification: { phoneNumber: ["+4915112345678"] },
  requestAnswer: { maxTokens: ["1"], modelId: [IDS.shown!] },
  revokeRole: { roleName: ["user"] },
  setModelProviderKey: { key: ["a-key-of-the-provider"] },
  setOwnModelKey: { key: ["a-key"] },
  setRoomPassword: { password: ["a password for the room"] },
  startTurn: { maxTokens: ["1"] },
  unlinkProvider: { provider: ["p"] },
  withdrawConsent: { purpose: ["terms"] },
};

const PROOF = "It needs a secret that the server sent or that the user knows.";
const NO_MEMORY = "No user of the walk has a memory that this server's keys open.";
const PROVIDER = "It needs another server: a provider for signing in, or one for payments.";

/** Mutations that no call of the walk brings to success, each with the reason. Their denials are walked all the same. */
export const WITHOUT_SUCCESS: Readonly<Record<string, string>> = {
  changeEmail: PROOF,
  changePassword: PROOF,
  completeSignIn: PROOF,
  confirmTotp: PROOF,
  createBillingPortal: PROVIDER,
  createCheckout: PROVIDER,
  deleteAllMemories: NO_MEMORY,
  deleteConversationMemory: NO_MEMORY,
  deleteMemory: NO_MEMORY,
  finishPasskeyRegistration: PROOF,
  finishPasskeySignIn: PROOF,
  finishProviderLink: PROVIDER,
  finishProviderSignIn: PROVIDER,
  joinRoomWithPassword: PROOF,
  reauthenticate: PROOF,
  recordHeartbeats:
    "Its rows are named inside JSON. It reports for each heartbeat whether it was recorded or refused.",
  refresh: PROOF,
  regenerateRecoveryCodes: PROOF,
  resetPassword: PROOF,
  resumeSubscription: "The subscriptions of the walk renew, because cancelSubscription needs that.",
  startProviderLink: PROVIDER,
  startProviderSignIn: PROVIDER,
  updateMemory: NO_MEMORY,
  verifyEmail: PROOF,
  verifyPhone: PROOF,
};

/** Mutations that a visitor may call, because they are part of signing in. */
export const OPEN_TO_VISITORS: readonly string[] = [
  "completeSignIn",
  "finishPasskeySignIn",
  "finishProviderSignIn",
  "login",

  "register",
  "requestPasswordReset",
  "resetPassword",
  "startPasskeySignIn",
  "startProviderSignIn",
  "verifyEmail",
];

const ALREADY =
  "The state that the caller asks for exists already, and the answer shows it. The caller may do it.";

/** Mutations that may succeed and change nothing, each with the reason. */
export const MAY_CHANGE_NOTHING: Readonly<Record<string, string>> = {
  deleteAllMemories: "It returns how many memories there were.",
  deleteConversationMemory: "It returns whether there was a memory.",
  deleteMyAccount: ALREADY,
  giveConsent: ALREADY,
  joinRoom: ALREADY,
  recordHeartbeats:
    "It reports for each heartbeat whether it was recorded or refused; the list may be empty.",
  requestDataExport: ALREADY,
  startTraining: ALREADY,
  unblockUser: "It returns whether there was a block. A block is its user's own row.",
};

const ACCOUNT =
  "An account's id is the address under which other users reach it, so it cannot be used without learning that it is one.";
const GRANT =
  "The permission is to decide on any user, model or item, including those its holder does not see.";

/** Places where a row that the caller does not see is accepted, and one that does not exist is not, each with the reason. */
export const REVEALED: Readonly<Record<string, string>> = {
  "blockUser.userId": ACCOUNT,
  "createDirectRoom.userId": ACCOUNT,
  "createPlanModelAccess.modelId": GRANT,
  "createPromptShare.userId": ACCOUNT,
  "createRoleModelAccess.modelId": GRANT,
  "createUsageLimit.modelId": GRANT,
  "createUserContentPermission.itemId": GRANT,
  "createUserContentPermission.userId": GRANT,
  "createUserModelAccess.modelId": GRANT,
  "createUserModelAccess.userId": GRANT,
  "inviteToRoom.inviteeId": ACCOUNT,
};

/** Tables of which every signed-in user sees all rows. */
export const SEEN_BY_ALL: readonly string[] = [
  "access.permissions",
  "access.role_permissions",
  "access.roles",
  "billing.subscription_plans",
  "identity.data_rights_settings",
  "learning.content_categories",
  "rooms.general_chat_settings",
];
