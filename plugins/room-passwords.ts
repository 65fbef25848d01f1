import "graphile-build-pg";
import { constant, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type {
  JoinRoomWithPasswordInput,
  RoomPasswords,
  SetRoomPasswordInput,
} from "../src/accounts/room-passwords.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField } from "./mutation-field.ts";

/** Room passwords, which are hashed outside SQL. Everything else about rooms is SQL. */
export const RoomPasswordsPlugin = extendSchema((build) => {
  const { rooms, room_members: members } = build.pgResources;
  if (!rooms || !members) throw new Error("The tables of rooms are missing. Migrate the database.");

  return {
    typeDefs: gql`
      input SetRoomPasswordInput {
        roomId: UUID!
        """At least 4 characters; null deletes the password. Members and invited users need no password."""
        password: String
      }

      type SetRoomPasswordPayload {
        room: Room
        query: Query
      }

      input JoinRoomWithPasswordInput {
        roomId: UUID!
        password: String!
      }

      type JoinRoomWithPasswordPayload {
        roomMember: RoomMember
        query: Query
      }

      extend type Mutation {
        """Sets or deletes the password of a room that the caller moderates. FORBIDDEN, NOT_FOUND, BAD_USER_INPUT."""
        setRoomPassword(input: SetRoomPasswordInput!): SetRoomPasswordPayload
        """
        Joins a room with its password, public or not. INVALID_CREDENTIALS both for a wrong password and for an unknown
        room; RATE_LIMITED after 10 attempts in 15 minutes.
        """
        joinRoomWithPassword(input: JoinRoomWithPasswordInput!): JoinRoomWithPasswordPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          setRoomPassword: mutationField((input: SetRoomPasswordInput, context) =>
            passwordsOf(context).set(input, context.plinth.request),
          ),
          joinRoomWithPassword: mutationField((input: JoinRoomWithPasswordInput, context) =>
            passwordsOf(context).join(input, context.plinth.request),
          ),
        },
      },
      SetRoomPasswordPayload: {
        plans: {
          room: ($set: Step<{ roomId: string }>) => rooms.get({ id: get($set, "roomId") }),
          query: () => constant({}),
        },
      },
      JoinRoomWithPasswordPayload: {
        plans: {
          roomMember: ($joined: Step<{ memberId: string }>) => members.get({ id: get($joined, "memberId") }),
          query: () => constant({}),
        },
      },
    },
  };
}, "PlinthRoomPasswordsPlugin");

function passwordsOf({ plinth }: Grafast.Context): RoomPasswords {
  if (!plinth.roomPasswords)
    throw new PlinthError("UNAVAILABLE", "Room passwords are not configured on this server.");
  return plinth.roomPasswords;
}
