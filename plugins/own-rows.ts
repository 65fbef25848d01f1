import "graphile-build-pg";
import { type PgCodec, type PgResource, type PgSelectQueryBuilder, PgSelectStep, TYPES } from "@dataplan/pg";
import {
  type ConnectionStep,
  constant,
  type FieldPlanResolver,
  type GrafastFieldConfig,
  lambda,
  type Step,
} from "grafast";
import { type SQL, sql } from "pg-sql2";

export interface OwnRows {
  /** The column with the owner's id. */
  readonly column: string;
  /** Each of these permissions shows rows of other users. */
  readonly permissions: readonly string[];
}

export const owned = (column: string, ...permissions: string[]): OwnRows => ({ column, permissions });

/** Plinth's listed tables and views whose policies show users their own rows, and all rows to users with a permission. */
export const OWN_ROWS: Readonly<Record<string, OwnRows>> = {
  "access.effective_permissions": owned("user_id", "manage_roles", "manage_users"),
  "access.user_model_access": owned("user_id", "grant_model_access"),
  "access.user_roles": owned("user_id", "manage_roles", "manage_users"),
  "billing.active_user_subscriptions": owned("user_id", "manage_subscriptions"),
  "billing.payments": owned("user_id", "manage_subscriptions"),
  "billing.provider_customers": owned("user_id", "manage_subscriptions"),
  "billing.subscription_changes": owned("user_id", "manage_subscriptions"),
  "billing.user_subscriptions": owned("user_id", "manage_subscriptions"),
  "identity.api_tokens": owned("user_id", "manage_users"),
  "identity.users": owned("id", "delete_user", "manage_users"),
  "learning.content_progress": owned("user_id", "manage_skills"),
  "learning.content_ratings": owned("user_id", "edit_content"),
  "learning.skill_evidence": owned("user_id", "manage_skills"),
  "learning.training": owned("user_id", "manage_skills"),
  "learning.user_content_permissions": owned("user_id", "manage_content_access"),
  "learning.user_skills": owned("user_id", "manage_skills"),
  "rooms.general_chat_mutes": owned("user_id", "moderate_general_chat"),
  "security.audit_trail": owned("user_id", "view_audit_log"),
  "security.login_attempts": owned("user_id", "view_audit_log"),
  "security.security_audit_log": owned("user_id", "view_audit_log"),
};

/**
 * Conditions that the policies or the view imply for every user, for lists that are not already those of one parent. In the policy
 * of messages itself, it would be evaluated for each statement of each subscriber of a room.
 */
export const IMPLIED: Readonly<Record<string, (alias: SQL) => SQL>> = {
  "identity.user_security_status": (alias) => sql`${alias}."user_id" = (select plinth.current_user_id())`,
  "rooms.room_invites": (alias) => sql`${alias}."id" = any (array(select rooms.my_invite_ids()))`,
  "rooms.room_messages": (alias) => sql`${alias}."room_id" = any (array(select rooms.my_room_ids()))`,
};

/**
 * Lists of these tables ask for the permissions first. Without any of them, the list names the owner in its condition, so that
 * PostgreSQL reads the owner's rows by an index. The policies alone are an OR of the owner and the permission: no plan is good
 * for both, and PostgreSQL chooses one that reads the rows of all users.
 *
 *   { payments { nodes { id } } }
 *   select access.has_permission('manage_subscriptions')
 *   … from billing.payments where user_id = (select plinth.current_user_id()) order by id asc limit 100
 *
 * Safe to disable: the policies decide what is visible, and the condition leaves out only rows that they hide.
 */
export const OwnRowsPlugin: GraphileConfig.Plugin = {
  name: "PlinthOwnRowsPlugin",
  version: "1.0.0",
  description: "Reads the rows of the caller by their index",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field: GrafastFieldConfig<Step>, build, { scope }) {
        const found = scope.isPgFieldConnection ? listConditionOf(scope) : undefined;
        if (!found || !field.plan) return field;
        const { condition, unless } = found;
        if (unless.length === 0)
          return { ...field, plan: withCondition(field.plan, () => constant(condition)) };
        const hasPermission = Object.values(build.pgResources).find(isHasPermission);
        if (!hasPermission) throw new Error("The API has no access.has_permission.");
        return { ...field, plan: withCondition(field.plan, unlessPermitted(found, hasPermission)) };
      },
    },
  },
};

/** A condition that leaves out only rows that the policies hide. */
export interface ListCondition {
  readonly condition: (alias: SQL) => SQL;
  /** Each of these permissions shows more rows than the condition. */
  readonly unless: readonly string[];
}

/** Returns the condition of a list, or undefined if its rows are found by a parent's id already. */
export function listConditionOf({
  pgFieldResource: resource,
  pgRelationDetails: relation,
  isRootQuery,
}: GraphileBuild.ScopeObjectFieldsField & { readonly isRootQuery?: boolean }): ListCondition | undefined {
  if (!resource || resource.parameters) return undefined;
  const { schemaName, name } = resource.codec.extensions?.pg ?? {};
  const table = `${schemaName}.${name}`;
  const implied = IMPLIED[table];
  if (implied && isRootQuery) return { condition: implied, unless: [] };
  const own = OWN_ROWS[table] ?? taggedOwnRows(resource.codec);
  if (!own || (relation && referringColumns(relation).includes(own.column))) return undefined;
  const condition = (alias: SQL) =>
    sql`${alias}.${sql.identifier(own.column)} = (select plinth.current_user_id())`;
  return { condition, unless: own.permissions };
}

/** An application names its tables itself, by the smart tag `@ownRows user_id manage_orders`: the column, then permissions. */
export function taggedOwnRows({ extensions }: PgCodec): OwnRows | undefined {
  const tag: unknown = extensions?.tags?.ownRows;
  if (typeof tag !== "string") return undefined;
  const [column, ...permissions] = tag.trim().split(/\s+/);
  return column ? owned(column, ...permissions) : undefined;
}

const referringColumns = ({
  registry,
  codec,
  relationName,
}: GraphileBuild.PgRelationsPluginRelationDetails): readonly string[] =>
  registry.pgRelations[codec.name]![relationName]!.remoteAttributes;

const isHasPermission = ({ extensions }: PgResource) =>
  extensions?.pg?.schemaName === "access" && extensions.pg.name === "has_permission";

type Condition = ((alias: SQL) => SQL) | null;

/** @param makeCondition called while the operation is planned */
function withCondition(plan: FieldPlanResolver, makeCondition: () => Step<Condition>): FieldPlanResolver {
  return ($parent, args, info) => {
    const $connection = plan($parent, args, info) as ConnectionStep<unknown>;
    const $select = $connection.getSubplan();
    if (!($select instanceof PgSelectStep))
      throw new Error(`${info.field.name} reads an unknown kind of step.`);
    $select.apply(lambda(makeCondition(), applyCondition));
    return $connection;
  };
}

const applyCondition = (condition: Condition) => (queryBuilder: PgSelectQueryBuilder) => {
  if (condition) queryBuilder.where(condition(queryBuilder.alias));
};

/** Makes a step that is the condition, or null if the caller holds one of the permissions. */
function unlessPermitted(
  { condition, unless }: ListCondition,
  hasPermission: PgResource,
): () => Step<Condition> {
  const conditionFor = (held: readonly (boolean | null)[]) => (held.includes(true) ? null : condition);
  return () =>
    lambda(
      unless.map(
        (permission) =>
          hasPermission.execute([{ step: constant(permission), pgCodec: TYPES.text }]) as Step<
            boolean | null
          >,
      ),
      conditionFor,
    );
}
