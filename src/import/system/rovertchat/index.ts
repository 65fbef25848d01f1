import type { SystemMapping } from "../mapping.ts";
import { chats, messages } from "./chats.ts";
import { modelAccess, models, providers } from "./models.ts";
import { defaultModels, users } from "./users.ts";

/**
 * rovertChat. Rows keep their UUIDs. The tables of the source may have the document's names in double quotes, as SQLAlchemy writes
 * them, the same in lower case, or with underscores.
 */
export const rovertChat: SystemMapping = {
  system: "rovertchat",
  title: "rovertChat",
  spellings: {
    users: ["Users"],
    modelproviders: ["ModelProviders", "model_providers"],
    models: ["Models"],
    chats: ["Chats"],
    messages: ["Messages"],
    usersettings: ["UserSettings", "user_settings"],
    usermodelaccess: ["UserModelAccess", "user_model_access"],
  },
  steps: [users, providers, models, defaultModels, modelAccess, chats, messages],
};
