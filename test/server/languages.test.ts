import { expect, test } from "@jest/globals";
import pg from "pg";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { publicError } from "../../src/request/public-error.ts";
import { isNotReplayed } from "../../src/request/replicas/positions.ts";

// PostgreSQL's own translations (lc_messages). The embedded servers of the tests have none.

/** A row that refers to nothing, a row that others refer to, and an invalid integer. */
const MESSAGES: Readonly<Record<string, readonly [missing: string, used: string, invalid: string]>> = {
  en: [
    'insert or update on table "messages" violates foreign key constraint "messages_chat_id_fkey"',
    'update or delete on table "chats" violates foreign key constraint "messages_chat_id_fkey" on table "messages"',
    'invalid input syntax for type integer: "not replayed: 0/1"',
  ],
  de: [
    "Einfügen oder Aktualisieren in Tabelle »messages« verletzt Fremdschlüssel-Constraint »messages_chat_id_fkey«",
    "Aktualisieren oder Löschen in Tabelle »chats« verletzt Fremdschlüssel-Constraint »messages_chat_id_fkey« von Tabelle »messages«",
    "ungültige Eingabesyntax für Typ integer: »not replayed: 0/1«",
  ],
  es: [
    "inserción o actualización en la tabla «messages» viola la llave foránea «messages_chat_id_fkey»",
    "update o delete en «chats» viola la llave foránea «messages_chat_id_fkey» en la tabla «messages»",
    "la sintaxis de entrada no es válida para tipo integer: «not replayed: 0/1»",
  ],
  fr: [
    "une instruction insert ou update sur la table « messages » viole la contrainte de clé\nétrangère « messages_chat_id_fkey »",
    "UPDATE ou DELETE sur la table « chats » viole la contrainte de clé étrangère « messages_chat_id_fkey » de la table « messages »",
    "syntaxe en entrée invalide pour le type integer : « not replayed: 0/1 »",
  ],
  ja: [
    'テーブル"messages"への挿入、更新は外部キー制約"messages_chat_id_fkey"に違反しています',
    'テーブル"chats"の更新または削除は、テーブル"messages"の外部キー制約"messages_chat_id_fkey"に違反します',
    '"integer"型の入力構文が不正です: "not replayed: 0/1"',
  ],
};

const fields = new ConstraintFields();

function raised(code: string, message: string): pg.DatabaseError {
  const error = new pg.DatabaseError(message, message.length, "error");
  return Object.assign(error, { code, severity: "ERROR", schema: "llm", table: "messages" });
}

test.each(Object.entries(MESSAGES))("tells both sides of a foreign key apart in %s", (_, [missing, used]) => {
  expect(publicError(raised("23503", missing), fields, "")?.code).toBe("BAD_USER_INPUT");
  expect(publicError(raised("23503", used), fields, "")?.code).toBe("CONFLICT");
});

test.each(Object.entries(MESSAGES))("recognizes a standby that lags behind in %s", (_, [, , invalid]) => {
  expect(isNotReplayed(raised("22P02", invalid))).toBe(true);
  expect(isNotReplayed(raised("22P02", invalid.replace("not replayed: ", "x not replayed: ")))).toBe(false);
});
