export const CREATE_CHAT =
  "mutation CreateChat($input: CreateChatInput!) { it: createChat(input: $input) { chat { id } } }";
export const SEND_MESSAGE =
  "mutation SendChatMessage($input: SendChatMessageInput!) { it: sendChatMessage(input: $input) { message { id } } }";
export const REQUEST_ANSWER =
  "mutation RequestAnswer($input: RequestAnswerInput!) { it: requestAnswer(input: $input) { message { id } } }";
export const CANCEL_ANSWER =
  "mutation CancelAnswer($input: CancelTurnInput!) { it: cancelTurn(input: $input) { message { id } } }";
export const FOLLOW_ANSWER = `subscription FollowAnswer($message: UUID!, $after: Int) {
  messageDeltas(messageId: $message, after: $after) {
    sequence isOver deltas { sequence content thinking }
    message { id state finishReason content thinking tokensUsed errorCode errorMessage }
  }
}`;
