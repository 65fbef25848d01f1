import { DENIED, type Probe } from "./probe.ts";

// Promises that several tables make.

/** Ada reads and changes her row of two, and can neither reach Bob's nor make hers his. */
export const own = (table: string, set: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["ada", `update ${table} set ${set}`, 1],
  ["ada", `update ${table} set user_id = :new`, DENIED],
];

/** Everyone reads; only the permission inserts, updates and deletes. */
export const managed = (table: string, where: string, insert: string, update?: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 1],
  ["ada", `insert into ${table} ${insert}`, DENIED],
  ["manage_roles", `insert into ${table} ${insert}`, 1],
  ["ada", `delete from ${table} where ${where}`, 0],
  ["manage_roles", `delete from ${table} where ${where}`, 1],
  ...(update
    ? ([
        ["ada", `update ${table} set ${update} where ${where}`, 0],
        ["manage_roles", `update ${table} set ${update} where ${where}`, 1],
      ] as const)
    : []),
];

/** Visitors see public rows, users also granted ones; the permission sees and writes all. */
export const catalogue = (table: string, insert: string): Probe[] => [
  ["visitor", `select from ${table}`, 1],
  ["ada", `select from ${table}`, 2],
  ["manage_models", `select from ${table}`, 3],
  ["ada", `insert into ${table} ${insert}`, DENIED],
  ["manage_models", `insert into ${table} ${insert}`, 1],
];

/** Users read their own rows, auditors all. */
export const log = (table: string, where: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 1],
  ["view_audit_log", `select from ${table} where ${where}`, 2],
];

/** Auditors read, the permission to manage security also changes, other users see nothing. */
export const rules = (table: string, where: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 0],
  ["view_audit_log", `select from ${table} where ${where}`, 1],
  ["manage_security", `select from ${table} where ${where}`, 1],
  ["view_audit_log", `update ${table} set is_enabled = false where ${where}`, 0],
  ["manage_security", `update ${table} set is_enabled = false where ${where}`, 1],
];

/** Users read their own row of two; the permission to manage subscriptions reads both. */
export const billed = (table: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["manage_subscriptions", `select from ${table}`, 2],
];

/** Users read their own rows, trainers all. */
export const practised = (table: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["manage_skills", `select from ${table}`, 2],
];
