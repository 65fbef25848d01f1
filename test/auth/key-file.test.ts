import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "@jest/globals";
import { readKeyFile } from "../../src/auth/key-file.ts";
import { loadConfig } from "../../src/config/config.ts";

const folder = mkdtempSync(join(tmpdir(), "plinth-key-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(content: string, mode: number): string {
  const path = join(folder, "keys");
  rmSync(path, { force: true, recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}
const read = (path: string) => () => readKeyFile("PLINTH_MASTER_KEYS_FILE", path);
const refused = (code: string) =>
  expect.objectContaining({ code, message: expect.stringContaining("PLINTH_MASTER_KEYS_FILE") });

test.each([0o600, 0o400])("reads a file that only its owner can read (mode %i)", (mode) => {
  expect(read(file("1:abc\n", mode))()).toBe("1:abc");
});

test.each([0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])(
  "rejects a file that others have any right to (mode %i)",
  (mode) => {
    const path = file("1:canary", mode);
    expect(read(path)).toThrow(refused("KEY_FILE_READABLE"));
    expect(read(path)).not.toThrow(/canary/);
  },
);

/** Only root can create files where systemd does. */
const asRoot = process.platform === "linux" && process.getuid?.() === 0 ? test : test.skip;

asRoot("reads a credential of systemd, whose access list appears as the right of root's group", () => {
  mkdirSync("/run/credentials", { recursive: true });
  const credentials = mkdtempSync("/run/credentials/plinth-test-");
  try {
    const path = join(credentials, "master-keys");
    writeFileSync(path, "1:abc");
    const withMode = (mode: number) => {
      chmodSync(path, mode);
      return read(path);
    };
    expect(withMode(0o440)()).toBe("1:abc");
    for (const mode of [0o444, 0o460, 0o640 | 0o004])
      expect(withMode(mode)).toThrow(refused("KEY_FILE_READABLE"));
    chownSync(path, 0, 1);
    expect(withMode(0o440)).toThrow(refused("KEY_FILE_READABLE"));
  } finally {
    rmSync(credentials, { recursive: true });
  }
});

test("rejects a missing, empty or far too long file and a folder", () => {
  expect(read(join(folder, "none"))).toThrow(refused("KEY_FILE_MISSING"));
  expect(read(file("\n", 0o600))).toThrow(refused("KEY_FILE_INVALID"));
  expect(read(file("x".repeat(100_001), 0o600))).toThrow(refused("KEY_FILE_INVALID"));
  const path = join(folder, "folder");
  mkdirSync(path, { mode: 0o700 });
  expect(read(path)).toThrow(refused("KEY_FILE_INVALID"));
});

test("rejects a variable and a file for the same keys", () => {
  for (const name of ["PLINTH_MASTER_KEYS", "PLINTH_JWT_KEYS"]) {
    expect(() => loadConfig({ [name]: "canary", [`${name}_FILE`]: "/keys" })).toThrow(
      expect.objectContaining({ code: "INVALID_SETTING", message: expect.stringContaining(`${name}_FILE`) }),
    );
    expect(() => loadConfig({ [name]: "canary", [`${name}_FILE`]: "/keys" })).not.toThrow(/canary/);
  }
});
