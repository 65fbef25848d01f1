import type { Dice } from "../operations/dice.ts";
import type { Case } from "./case.ts";
import type { Roles } from "./pieces.ts";
import { type Half, randomHalf, SECTIONS } from "./random-half.ts";

const REQUESTS = 30;

export function randomCase(dice: Dice): Case {
  const first = randomHalf(dice, "");
  const halves = [first];
  if (dice.chance(10) && !first.tags.includes("effect: subject priority")) {
    const second = randomHalf(dice, "2");
    // A single role definition serves both halves, and subjects have priorities in the first only.
    if (second.roles.length === 0) halves.push(second);
  }
  const rules = halves.flatMap((half) => half.rules);
  const links = first.roles.flatMap(({ name, rules }) => rules.map((values) => ({ ptype: name, values })));
  const definition = definitionOf(dice, halves, first.roles);
  return {
    tags: [...halves.flatMap((half) => half.tags), ...(halves.length > 1 ? ["two definitions"] : [])],
    definition,
    reordered: halves.flatMap(({ lines, reordered }) =>
      reordered.map((line) => definition.replace(lines.matchers, () => line)),
    ),
    rules: dice.some([...rules, ...links], rules.length + links.length),
    requests: Array.from({ length: REQUESTS }, () => dice.pick(halves).request()),
  };
}

function definitionOf(dice: Dice, halves: readonly Half[], roles: readonly Roles[]): string {
  const sections = SECTIONS.map(
    (name) => `[${name}]\n${halves.map(({ lines }) => lines[name]).join("\n")}\n`,
  );
  if (roles.length > 0)
    sections.push(
      `[role_definition]\n${roles.map(({ name, columns }) => `${name} = ${Array(columns).fill("_").join(", ")}`).join("\n")}\n`,
    );
  return dice.some(sections, sections.length).join(dice.pick(["\n", "\n# A comment.\n", ""]));
}
