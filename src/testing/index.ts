export {
  createTestPlinth,
  type TestAnswer,
  type TestOptions,
  type TestPlinth,
  type TestUser,
} from "./test-plinth.ts";
