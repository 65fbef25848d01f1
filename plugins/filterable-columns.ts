import { jsonPgSmartTags } from "graphile-utils";

const FILTERABLE = { tags: { behavior: ["+orderBy", "+filterBy"] } };

/**
 * Columns that allow filters and orders although no index leads with them: rows are found by their owner (or form a
 * catalogue of hundreds), so few remain to be scanned.
 */
export const FilterableColumnsPlugin = jsonPgSmartTags(
  {
    version: 1,
    config: {
      class: {
        "billing.subscription_plans": { attribute: { is_active: FILTERABLE, superseded_at: FILTERABLE } },
        "identity.user_sessions": { attribute: { is_active: FILTERABLE, last_activity_at: FILTERABLE } },
        "learning.content_progress": {
          attribute: { progress: FILTERABLE, completed_at: FILTERABLE, last_activity_at: FILTERABLE },
        },
        "learning.skill_evidence": { attribute: { kind: FILTERABLE, created_at: FILTERABLE } },
        "learning.training": { attribute: { status: FILTERABLE } },
        "llm.chats": { attribute: { title: FILTERABLE, is_archived: FILTERABLE, created_at: FILTERABLE } },
        "llm.messages": { attribute: { role: FILTERABLE } },
        "llm.models": { attribute: { display_name: FILTERABLE, is_public: FILTERABLE } },
        "rooms.chat_rooms": { attribute: { name: FILTERABLE, is_public: FILTERABLE, room_type: FILTERABLE } },
        "rooms.room_members": { attribute: { role: FILTERABLE } },
        "llm.prompts": { attribute: { prompt_type: FILTERABLE, is_for_developers: FILTERABLE } },
      },
    },
  },
  null,
  {
    name: "PlinthFilterableColumnsPlugin",
    version: "1.0.0",
    description: "Filter and order by columns of small sets without an index",
  },
);
