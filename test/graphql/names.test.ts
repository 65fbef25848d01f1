import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import {
  buildSchema,
  type GraphQLField,
  type GraphQLInputField,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isIntrospectionType,
  isListType,
  isObjectType,
} from "postgraphile/graphql";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// The rules of docs/api.md#names, held for every name of the schema. Exceptions are listed by name with a reason; an exception
// that no longer occurs fails as well.

const schema = buildSchema(readFileSync(join(PACKAGE_ROOT, "migrations/schema/schema.graphql"), "utf8"));
const types = Object.values(schema.getTypeMap()).filter((type) => !isIntrospectionType(type));
const objects = types.filter(isObjectType);

interface Place {
  readonly type: string;
  readonly name: string;
  readonly field: GraphQLField<unknown, unknown> | GraphQLInputField;
}

const fieldsOf = (all: readonly (typeof types)[number][]): Place[] =>
  all.flatMap((type) =>
    isObjectType(type) || isInputObjectType(type)
      ? Object.entries(type.getFields()).map(([name, field]) => ({ type: type.name, name, field }))
      : [],
  );
/** Inputs of filters and operators have PostGraphile's names. */
const inputs = types.filter((type) => isInputObjectType(type) && !type.name.endsWith("Filter"));
/** The columns of rows, whichever way they are read or written. */
const rowInputs = inputs.filter(
  ({ name }) => name.endsWith("Patch") || objects.some((type) => `${type.name}Input` === name),
);
const scalarOf = ({ field }: Place) =>
  isListType(getNullableType(field.type)) ? "" : getNamedType(field.type).name;
const places = (found: readonly Place[]) => found.map(({ type, name }) => `${type}.${name}`);

/** Fails for names that are no longer exceptions, too. */
function expectOnly(found: readonly string[], exceptions: Readonly<Record<string, string>>): void {
  expect([...new Set(found)].sort()).toEqual(Object.keys(exceptions).sort());
}

test("a mutation begins with a verb of the list", () => {
  const verbs =
    `append assess block breakOff cancel change complete confirm create delete edit end explain finish give grant inspect invite join
    label leave login logout mark move pause post publish rate react reauthenticate record refresh regenerate register
    remove replace request reserve reset respond restart restore resume revise revoke save select send set start subscribe
    unblock unlink unlock unpublish update use verify withdraw`.split(/\s+/);
  const begins = (name: string, verb: string) =>
    name.startsWith(verb) && !/^[a-z]/.test(name.slice(verb.length));
  const names = Object.keys(schema.getMutationType()!.getFields());
  expect(names.filter((name) => !verbs.some((verb) => begins(name, verb)))).toEqual([]);
  expect(verbs.filter((verb) => !names.some((name) => begins(name, verb)))).toEqual([]);
});

test("create, update and delete are followed by the name of a type", () => {
  const names = Object.keys(schema.getMutationType()!.getFields());
  const changes = names.filter((name) => /^(create|update|delete)[A-Z]/.test(name));
  expect(changes.length).toBeGreaterThan(80);
  expectOnly(
    changes.filter((name) => !objects.some((type) => type.name === name.replace(/^[a-z]+/, ""))),
    {
      createBillingPortal: "It opens a page of the payment provider, which the API cannot read.",
      createCheckout: "It opens a page of the payment provider, which the API cannot read.",
      createDirectRoom: "It creates a Room, of another kind than createRoom.",
      deleteAllMemories: "It deletes all of the user's; deleteMemory deletes one.",
      deleteMyAccount: "It requests the deletion of the own account; deleteUser deletes any account at once.",
    },
  );
});

test("a Boolean begins with is, has, can or a verb", () => {
  const columns = fieldsOf([...objects, ...rowInputs]).filter((place) => scalarOf(place) === "Boolean");
  expect(columns.length).toBeGreaterThan(60);
  expectOnly(
    places(columns.filter(({ name }) => !/^(is|has|can|was|requires|waives|trains|cancels)[A-Z]/.test(name))),
    {
      "AcknowledgedPayload.ok": "It is always true.",
      "BlockUserPayload.result": "The result of a function.",
      "DataRightsSetting.id": "The key of a table with one row.",
      "ExplainedCondition.outcome": "Null is a third outcome.",
      "ExplainedPolicy.outcome": "Null is a third outcome.",
      "GeneralChatSetting.id": "The key of a table with one row.",
      "LeaveRoomPayload.result": "The result of a function.",
      "LogoutPayload.result": "The result of a function.",
      "Query.enforce": "Casbin's own name.",
      "RemoveRoomMemberPayload.result": "The result of a function.",
      "RevokeRoomInvitePayload.result": "The result of a function.",
      "UnblockUserPayload.result": "The result of a function.",
    },
  );
});

test("a time ends in At, or in From, Until or Since as a bound, and a day in On", () => {
  const times = fieldsOf([...objects, ...inputs]).filter((place) =>
    /^(Datetime|Date)$/.test(scalarOf(place)),
  );
  expect(times.length).toBeGreaterThan(150);
  expectOnly(places(times.filter(({ name }) => !/(At|From|Until|Since|On)$/.test(name))), {
    "Archive.month": "The month that the archive holds.",
    "DailyUsage.day": "The day that the row counts.",
    "MonthlyUsage.month": "The month that the row counts.",
  });
});

test("an id ends in Id, a key of the client in Key, and a user who acted in By", () => {
  const ids = fieldsOf([...objects, ...inputs]).filter((place) => scalarOf(place) === "UUID");
  expect(ids.length).toBeGreaterThan(100);
  expectOnly(places(ids.filter(({ name }) => !/(^id|Id|Key|By)$/.test(name))), {
    "InviteToRoomInput.announceIn":
      "The room in which the invite appears as a message, in the words of the mutation.",
    "MemoryPage.endCursor": "A position in a list; it happens to be an id.",
  });
});

test("a list has a plural name", () => {
  const lists = fieldsOf(objects).filter(
    ({ name, field }) =>
      (getNamedType(field.type).name.endsWith("Connection") || isListType(getNullableType(field.type))) &&
      !/s(By[A-Z]\w*)?$/.test(name),
  );
  expectOnly(places(lists), {
    "Chat.activePath": "It is a single path of messages.",
    "ContentCategory.children": "A plural.",
    "ContentItem.requiredBy": "The items that require it.",
    "Message.children": "A plural.",
    "Query.enforceMany": "Casbin's BatchEnforce.",
    "Query.messageDeltasAfter": "The deltas after a sequence.",
    "Query.modelAccessOf": "The access of a user.",
    "Query.roomContext": "It is a single context, made of messages.",
    "Query.searchContent": "Content has no plural.",
    "RoomMessage.readBy": "The members who read it.",
    "UserSkill.evidence": "Evidence has no plural.",
  });
});

test("a field does not repeat the name of its type", () => {
  const repeated = fieldsOf(objects).filter(({ type, name, field }) => {
    const last = /[A-Z][a-z]*$/.exec(type)?.[0].toLowerCase() ?? type;
    return scalarOf({ type, name, field }) === "String" && name === `${last}Name`;
  });
  expectOnly(places(repeated), {
    "EffectivePermission.permissionName": "The row is about a permission; its name is that of Permission.",
  });
});
