import { expect, test } from "@jest/globals";
import { onceUnused } from "../../src/database/drop-database.ts";

const failing = (code: string) => Object.assign(new Error(code), { code });

test("a database that other sessions are still leaving is created or dropped when they have left", async () => {
  let attempts = 0;
  await onceUnused(async () => {
    attempts += 1;
    if (attempts < 3) throw failing("55006");
  });
  expect(attempts).toBe(3);
});

test("sessions that stay, and other errors, are reported", async () => {
  for (const code of ["55006", "42501"])
    await expect(onceUnused(() => Promise.reject(failing(code)))).rejects.toMatchObject({ code });
});
