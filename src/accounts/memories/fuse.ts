/** Damps the first ranks (Cormack, Clarke and Büttcher 2009), so that no list decides alone. */
const RANK_OFFSET = 60;

/** An id with its places in the lists, from 1; undefined in a list that lacks it. */
export interface Fused {
  readonly id: string;
  readonly score: number;
  readonly places: readonly (number | undefined)[];
}

/** Merges ranked lists by reciprocal rank fusion: it compares places, because scores of different searches have no common scale. */
export function fuse(...lists: readonly (readonly string[])[]): Fused[] {
  const ids = new Set(lists.flat());
  return [...ids]
    .map((id) => {
      const places = lists.map((list) => list.indexOf(id) + 1 || undefined);
      const score = places.reduce<number>(
        (sum, place) => sum + (place === undefined ? 0 : 1 / (RANK_OFFSET + place)),
        0,
      );
      return { id, score, places };
    })
    .sort((a, b) => b.score - a.score);
}
