import { expect, test } from "@jest/globals";
import { writeError } from "../../src/export/write-error.ts";

const failure = (code: string) => Object.assign(new Error(`${code}: what Node says`), { code });

test.each([
  ["ENOSPC", "DISK_FULL", /disk that holds \/out is full/],
  ["EDQUOT", "DISK_FULL", /disk that holds \/out is full/],
  ["EROFS", "FILE_NOT_WRITABLE", /disk that holds \/out is read-only/],
  ["EACCES", "FILE_NOT_WRITABLE", /may not write \/out\/chats/],
  ["ENOENT", "FILE_NOT_WRITABLE", /folder \/out does not exist/],
  ["ENOTDIR", "FILE_NOT_WRITABLE", /\/out is not a folder/],
  ["EISDIR", "FILE_NOT_WRITABLE", /\/out\/chats is a folder/],
])("reports %s in a sentence that says what to do", (code, name, message) => {
  const error = writeError("/out/chats", failure(code));
  expect(error).toMatchObject({
    code: name,
    message: expect.stringMatching(message),
    hint: expect.any(String),
  });
  expect(error.message).not.toContain(code);
});

test("repeats Node's message for an unknown error", () => {
  expect(writeError("/out/chats", failure("EIO")).message).toBe(
    "/out/chats cannot be written: EIO: what Node says",
  );
});
