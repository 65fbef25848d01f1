import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const read = async (userAgent: string | null) =>
  (
    await asOwner<{ known: unknown; described: unknown }>(
      "select private.known_device($1) as known, private.describe_user_agent($1) as described",
      [userAgent],
    )
  )[0]!;

const WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)";
const SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
const WINDOWS = `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/140.0.0.0 Safari/537.36`;
const IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)";
const IPAD = "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X)";
const ANDROID = "Mozilla/5.0 (Linux; Android 15; K)";
const MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
const LINUX = "Mozilla/5.0 (X11; Linux x86_64)";

test.each([
  [WINDOWS, "Windows", "Chrome"],
  [`${WINDOWS} Edg/140.0.0.0`, "Windows", "Edge"],
  [`${WINDOWS} Edge/18.19042`, "Windows", "Edge"],
  [`${WINDOWS} OPR/120.0.0.0`, "Windows", "Opera"],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Windows", "Firefox"],
  [`${MAC} ${SAFARI} Version/18.0 Safari/605.1.15`, "macOS", "Safari"],
  [`${MAC} ${WEBKIT} Chrome/140.0.0.0 Safari/537.36`, "macOS", "Chrome"],
  ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Linux", "Firefox"],
  [`${LINUX} ${WEBKIT} Ubuntu Chromium/140.0.0.0 Chrome/140.0.0.0 Safari/537.36`, "Linux", "Chrome"],
  [`Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${WEBKIT} Chrome/140.0.0.0 Safari/537.36`, "ChromeOS", "Chrome"],
  [`${IPHONE} ${SAFARI} Version/18.0 Mobile/15E148 Safari/604.1`, "iOS", "Safari"],
  [`${IPHONE} ${SAFARI} CriOS/140.0.0.0 Mobile/15E148 Safari/604.1`, "iOS", "Chrome"],
  [`${IPHONE} ${SAFARI} FxiOS/140.0 Mobile/15E148 Safari/605.1.15`, "iOS", "Firefox"],
  [`${IPAD} ${SAFARI} Version/18.0 EdgiOS/140.0.0.0 Mobile/15E148 Safari/604.1`, "iOS", "Edge"],
  [`${ANDROID} ${WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36`, "Android", "Chrome"],
  [`${ANDROID} ${WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36 EdgA/140.0.0.0`, "Android", "Edge"],
  [
    `${ANDROID} ${WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36`,
    "Android",
    "Samsung Internet",
  ],
  ["Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", "Android", "Firefox"],
])("recognises %j as %s and %s", async (userAgent, platform, browser) => {
  expect(await read(userAgent)).toEqual({ known: { platform, browser }, described: { platform, browser } });
});

test("recognises curl", async () => {
  expect(await read("curl/8.5.0")).toEqual({ known: { browser: "curl" }, described: { browser: "curl" } });
});

describe("an app that is not known", () => {
  test.each([
    ["MyApp/2.1 (iPhone; iOS 18.0)", { platform: "iOS" }, { platform: "iOS", browser: "MyApp" }],
    ["okhttp/4.12.0", {}, { browser: "okhttp" }],
    ["evil.example/1.0", {}, { browser: "evil.example" }],
    ["Your account is closed, visit https://evil.example", {}, { browser: "Your" }],
    ["<script>alert(1)</script>", {}, {}],
    ["https://evil.example Firefox/140.0", { browser: "Firefox" }, { browser: "Firefox" }],
  ])("names itself in the list of devices, but not in email: %j", async (userAgent, known, described) => {
    expect(await read(userAgent)).toEqual({ known, described });
  });
});

test("returns null without a header", async () => {
  expect(await read(null)).toEqual({ known: null, described: null });
});
