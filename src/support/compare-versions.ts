/** Orders two versions by the rules of https://semver.org: negative if `a` is older, 0 if they are the same. */
export function compareVersions(a: string, b: string): number {
  const [coreOfA, preOfA] = split(a);
  const [coreOfB, preOfB] = split(b);
  // A version without identifiers after the hyphen is newer than its candidates.
  const isFinal = Number(preOfA.length === 0) - Number(preOfB.length === 0);
  return compareLists(coreOfA, coreOfB) || isFinal || compareLists(preOfA, preOfB);
}

function split(version: string): [string[], string[]] {
  const [core = "", pre = ""] = version.replace(/\+.*/, "").split(/-(.*)/);
  return [core.split("."), pre === "" ? [] : pre.split(".")];
}

function compareLists(a: readonly string[], b: readonly string[]): number {
  for (const [index, own] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    if (own !== other) return compareIdentifiers(own, other);
  }
  return a.length - b.length;
}

/** Numbers are older than words. */
function compareIdentifiers(a: string, b: string): number {
  const [isNumberA, isNumberB] = [a, b].map((each) => /^\d+$/.test(each));
  if (isNumberA && isNumberB) return Number(a) - Number(b);
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  return a < b ? -1 : 1;
}
