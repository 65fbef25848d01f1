import {
  type DirectiveNode,
  type FragmentDefinitionNode,
  GraphQLBoolean,
  type GraphQLObjectType,
  Kind,
  type NamedTypeNode,
  type NameNode,
  type SelectionNode,
  type SelectionSetNode,
} from "postgraphile/graphql";
import type { Dice } from "./dice.ts";
import type { ValueWriter } from "./variables.ts";

export const nameNode = (value: string): NameNode => ({ kind: Kind.NAME, value });
export const namedType = (name: string): NamedTypeNode => ({ kind: Kind.NAMED_TYPE, name: nameNode(name) });

/** The fragments of one operation, and the directives on them and on fields. */
export interface Fragments {
  readonly definitions: readonly FragmentDefinitionNode[];
  /** A spread of a fragment on this type that is no deeper than `depth`. */
  reuse(type: GraphQLObjectType, depth: number): SelectionNode | undefined;
  /** Moves some of the selections into a fragment. */
  wrap(selections: readonly SelectionNode[], type: GraphQLObjectType, depth: number): SelectionNode[];
  /** Mostly none, or such that the selection stays. */
  directives(): DirectiveNode[];
}

export function createFragments(dice: Dice, writer: ValueWriter): Fragments {
  const definitions: FragmentDefinitionNode[] = [];
  const heights = new Map<FragmentDefinitionNode, number>();

  function directives(): DirectiveNode[] {
    if (!dice.chance(5)) return [];
    return dice.some(["include", "skip"], dice.chance(20) ? 2 : 1).map((name) => ({
      kind: Kind.DIRECTIVE,
      name: nameNode(name),
      arguments: [
        {
          kind: Kind.ARGUMENT,
          name: nameNode("if"),
          value: writer.write((name === "include") === dice.chance(75), GraphQLBoolean),
        },
      ],
    }));
  }

  const spread = ({ name }: FragmentDefinitionNode): SelectionNode => ({
    kind: Kind.FRAGMENT_SPREAD,
    name,
    directives: directives(),
  });

  function fragmentOf(selectionSet: SelectionSetNode, type: GraphQLObjectType, depth: number): SelectionNode {
    if (dice.chance(50))
      return {
        kind: Kind.INLINE_FRAGMENT,
        ...(dice.chance(60) && { typeCondition: namedType(type.name) }),
        directives: directives(),
        selectionSet,
      };
    const fragment: FragmentDefinitionNode = {
      kind: Kind.FRAGMENT_DEFINITION,
      name: nameNode(`F${definitions.length + 1}`),
      typeCondition: namedType(type.name),
      selectionSet,
    };
    definitions.push(fragment);
    heights.set(fragment, depth);
    return spread(fragment);
  }

  return {
    definitions,
    directives,
    reuse(type, depth) {
      const known = definitions.find(
        (fragment) => fragment.typeCondition.name.value === type.name && heights.get(fragment)! <= depth,
      );
      return known && spread(known);
    },
    wrap(selections, type, depth) {
      const from = dice.below(selections.length);
      const to = from + 1 + dice.below(selections.length - from);
      const inside: SelectionSetNode = {
        kind: Kind.SELECTION_SET,
        selections: selections.slice(from, to),
      };
      return [...selections.slice(0, from), fragmentOf(inside, type, depth), ...selections.slice(to)];
    },
  };
}
