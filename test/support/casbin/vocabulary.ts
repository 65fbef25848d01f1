/** Few words, so that random rules and requests often meet. */
export const USERS = ["alice", "bob", "carol", "dave", "00000000-0000-7000-8000-000000000001"] as const;
export const ROLES = ["admin", "editor", "viewer", "guest"] as const;
export const OBJECTS = ["data1", "data2", "data3"] as const;
export const GROUPS = ["books", "pens"] as const;
export const ACTS = ["read", "write", "delete"] as const;
export const DOMAINS = ["d1", "d2"] as const;

export const PATHS = ["/a", "/a/", "/a/1", "/a/2/b", "/a/1/b/1", "/a/1/b/2", "/b/x.y", "/bxxy", "/b/xzy?q=1"];
export const IPS = ["192.168.1.5", "192.168.2.5", "10.0.0.1", "10.200.0.1", "::1", "fe80::1", "2001:db8::7"];

/** For each matching function, patterns that meet some of the values above. */
export const PATTERNS = {
  keyMatch: ["/a/*", "/a*", "*", "/a/1", "/b/x.*", "/a/*/b"],
  keyMatch2: ["/a/:id", "/a/:id/b", "/a/:id/b/:n", "/a/*", "*", "/:x/1", "/b/x.y", "/:x"],
  keyMatch3: ["/a/{id}", "/a/{id}/b", "/a/{id}/b/{n}", "/a/*", "/{x}/1", "/b/x.y", "/{x}"],
  keyMatch4: ["/a/{id}", "/a/{id}/b/{id}", "/a/{x}/b/{y}", "/{x}/{x}", "/a/*", "/b/x.y"],
  keyMatch5: ["/a/{id}", "/a/{id}/b/{n}", "/b/{x}", "/b/x.y", "/a/*", "/b/xzy"],
  globMatch: ["/a/*", "/a*", "*", "/*/*", "/a/*/b", "/b/x.?", "/a/?", "/a/1"],
  regexMatch: ["^/a", "/[0-9]+$", "^/a/\\d/b$", "x.y", "^/b/x\\.y$", "(^/a/1$)|(^/b)", "^/a/[^/]+$", "^$"],
  ipMatch: ["192.168.1.0/24", "192.168.0.0/16", "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fe80::/10"],
} as const;

export type MatchingFunction = keyof typeof PATTERNS;
export const PATH_FUNCTIONS = Object.keys(PATTERNS).filter(
  (name): name is Exclude<MatchingFunction, "ipMatch"> => name !== "ipMatch",
);

export const ACT_PATTERNS = ["read", "(read)|(write)", "^w", "e$", "."] as const;
