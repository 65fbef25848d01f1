import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { parse, parseAllDocuments } from "yaml";
import { readKeyFile } from "../../src/auth/key-file.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { loadConfig, unknownSettings } from "../../src/config/config.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// The files of deploy/, as far as they can be checked without the machines that they are for.

const DEPLOY = join(PACKAGE_ROOT, "deploy");
const read = (path: string) => readFileSync(join(DEPLOY, path), "utf8");
const temporary = mkdtempSync(join(tmpdir(), "plinth-deploy-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

const COMMANDS = buildProgram().commands.map((command) => command.name());
const units = readdirSync(join(DEPLOY, "systemd")).filter((name) => name.endsWith(".service"));

// biome-ignore lint/suspicious/noExplicitAny: files of other programs.
type Any = any;

/** Files with secrets exist only on the machine, and so do values with a placeholder; both are replaced by valid ones. */
function standIn(name: string, value: string): string {
  if (value.includes("%i")) return "1";
  if (!name.endsWith("_URL_FILE")) return value;
  const path = join(temporary, "url");
  writeFileSync(path, name.includes("SMTP") ? "smtp://mail" : "postgres://database");
  return path;
}

/** The settings of one process, of which none may be misspelled or invalid. */
function expectSettings(given: Record<string, string>): void {
  expect(Object.keys(given).length).toBeGreaterThan(1);
  const env = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, standIn(name, value)]));
  loadConfig(env);
  expect(unknownSettings(env)).toEqual([]);
}

describe("compose.yaml", () => {
  const compose: Any = parse(read("compose.yaml"), { merge: true });
  const services: [string, Any][] = Object.entries(compose.services);
  const ours = services.filter(([name]) => name !== "database");

  test("runs two servers, two workers and an answerer, after migrations that wait for the database", () => {
    expect(Object.fromEntries(ours.map(([name, { deploy }]) => [name, deploy?.replicas ?? 1]))).toEqual({
      migrate: 1,
      serve: 2,
      work: 2,
      answer: 1,
    });
    for (const [name, { command, depends_on }] of ours) {
      expect(COMMANDS).toContain(command);
      expect(depends_on).toEqual(
        name === "migrate"
          ? { database: { condition: "service_healthy" } }
          : { migrate: { condition: "service_completed_successfully" } },
      );
    }
  });

  test.each(ours)(
    "gives %s existing settings, and only secrets that are declared and that it uses",
    (_name, service) => {
      const { environment, secrets } = service;
      expectSettings(
        Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, String(value)])),
      );
      const used = Object.entries<string>(environment)
        .filter(([key]) => key.endsWith("_FILE"))
        .map(([, path]) => path.replace("/run/secrets/", ""));
      expect(used.sort()).toEqual([...secrets].sort());
      for (const name of secrets) expect(compose.secrets[name]).toEqual({ file: `secrets/${name}` });
    },
  );

  test("holds no password, and locks the processes in", () => {
    expect(read("compose.yaml")).not.toMatch(/postgres:\/\/|_PASSWORD:/);
    for (const [, service] of ours)
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
      });
  });

  test("finds its secrets where create-secrets.sh writes them, once", () => {
    const folder = join(temporary, "secrets");
    const create = () => {
      const { status, stderr } = spawnSync("sh", [join(DEPLOY, "create-secrets.sh"), folder], {
        encoding: "utf8",
        env: { ...process.env, RUN_AS: `${process.getuid!()}:${process.getgid!()}` },
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return Object.fromEntries(
        readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]),
      );
    };
    const secrets = create();
    expect(Object.keys(secrets).sort()).toEqual(Object.keys(compose.secrets).sort());
    expect(create()).toEqual(secrets);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(parseMasterKeys(readKeyFile("master", join(folder, "master_keys")))).toBeDefined();
    expect(parseSigningKeys(readKeyFile("jwt", join(folder, "jwt_keys")))).toBeDefined();
    const { databaseUrls } = loadConfig({ PLINTH_OWNER_URL_FILE: join(folder, "owner_url") });
    expect(new URL(databaseUrls.owner!)).toMatchObject({
      username: "plinth_owner",
      password: secrets.owner_password!.trim(),
      host: "database",
      pathname: "/plinth",
    });
  });
});

describe("kubernetes.yaml", () => {
  const documents = parseAllDocuments(read("kubernetes.yaml")).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Any;
  });
  const settings: Record<string, string> = documents.find(({ kind }) => kind === "ConfigMap").data;
  const workloads: [string, Any][] = documents
    .filter(({ kind }) => kind === "Job" || kind === "Deployment")
    .map(({ metadata, spec }) => [metadata.name, spec]);

  test.each(workloads)("%s runs a command with existing settings, locked in", (_name, { template }) => {
    const { containers, securityContext } = template.spec;
    const [{ args, env, envFrom = [], securityContext: own }] = containers;
    expect(COMMANDS).toContain(args[0]);
    // A value that any setting of a secret accepts.
    const value = ({ name, value }: Any) =>
      value ?? (name.endsWith("_URL") ? (name.includes("SMTP") ? "smtp://x" : "postgres://x") : "x");
    expectSettings({
      ...(envFrom.length > 0 && settings),
      ...Object.fromEntries(env.map((each: Any) => [each.name, value(each)])),
    });
    expect(securityContext.runAsNonRoot).toBe(true);
    expect(own).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
  });

  test("takes only secrets that docs/deployment.md creates", () => {
    const page = readFileSync(join(PACKAGE_ROOT, "docs/deployment.md"), "utf8");
    const created = [...page.matchAll(/--from-(?:file|literal)=([a-z-]+)/g)].map(([, key]) => key!);
    const used = [...read("kubernetes.yaml").matchAll(/secretKeyRef: \{ name: plinth, key: ([a-z-]+) \}/g)];
    expect([...new Set(used.map(([, key]) => key!))].sort()).toEqual([...new Set(created)].sort());
  });

  test("leaves a stopping server more time than its delay and its last requests take", () => {
    const { template } = new Map(workloads).get("plinth-serve");
    const { containers, terminationGracePeriodSeconds } = template.spec;
    const [{ env, readinessProbe, livenessProbe }] = containers;
    const delay = Number(env.find(({ name }: Any) => name === "PLINTH_SHUTDOWN_DELAY_SECONDS").value);
    expect(delay).toBeGreaterThan(readinessProbe.periodSeconds);
    expect(terminationGracePeriodSeconds).toBeGreaterThanOrEqual(delay + 10);
    // The database's failure must not restart the servers.
    expect([readinessProbe, livenessProbe].map(({ httpGet }) => httpGet.path)).toEqual([
      "/readyz",
      "/healthz",
    ]);
  });
});

describe("the units of systemd", () => {
  test.each(units)("%s runs a command with existing settings and loads each file that they name", (name) => {
    const text = read(join("systemd", name));
    const [, command] = /^ExecStart=.* (\w+)$/m.exec(text)!;
    expect(COMMANDS).toContain(command);
    const pairs = [...text.matchAll(/^Environment=(.*)$/gm)]
      .flatMap(([, line]) => line!.split(" "))
      .map((pair) => pair.split("=") as [string, string]);
    expectSettings(Object.fromEntries(pairs));
    const loaded = [...text.matchAll(/^LoadCredential=([\w-]+):\/etc\/plinth\/secrets\/\1$/gm)];
    const used = pairs.filter(([key]) => key.endsWith("_FILE")).map(([, path]) => path.replace("%d/", ""));
    expect(loaded.map(([, credential]) => credential!).sort()).toEqual(used.sort());
  });

  const hasAnalyzer = existsSync("/usr/bin/systemd-analyze");
  const title = "are valid and locked in";
  (hasAnalyzer ? test : test.skip)(hasAnalyzer ? title : `${title} (systemd-analyze is missing)`, () => {
    const folder = join(temporary, "units");
    cpSync(join(DEPLOY, "systemd"), folder, { recursive: true });
    const analyze = (...args: string[]) => {
      const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` };
      const { status, stdout, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8", env });
      return { status, output: stdout + stderr };
    };
    const files = units.map((name) => join(folder, name.replace("@", "@5678")));
    for (const file of files.filter((path) => path.includes("@"))) cpSync(file.replace("@5678", "@"), file);
    expect(analyze("verify", "--man=no", "--recursive-errors=no", ...files)).toEqual({
      status: 0,
      output: "",
    });
    for (const name of units) {
      const unit = name.replace("@", "@5678");
      // Of 100, of which the network and the compiler in Node make up the rest.
      const { status, output } = analyze("security", "--no-pager", "--offline=yes", "--threshold=20", unit);
      expect({ unit, status, output: status === 0 ? "" : output }).toEqual({ unit, status: 0, output: "" });
    }
  });
});
