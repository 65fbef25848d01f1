/** The chats of the demo accounts. `model` is the vendor/id of a demo model. */
interface DemoMessage {
  readonly role: "user" | "assistant" | "system" | "tool";
  readonly content: string;
  readonly thinking?: string;
  readonly toolCalls?: readonly unknown[];
  readonly images?: readonly unknown[];
  readonly model?: string;
  readonly tokensUsed?: number;
}

export interface DemoChat {
  readonly owner: "ada" | "grace";
  readonly title: string;
  readonly messages: readonly DemoMessage[];
}

export const DEMO_CHATS: readonly DemoChat[] = [
  {
    owner: "ada",
    title: "Weather for the trip",
    messages: [
      { role: "system", content: "You plan day trips. Use tools for anything that changes.", tokensUsed: 14 },
      { role: "user", content: "Should I take the boat to the island on Saturday?", tokensUsed: 12 },
      {
        role: "assistant",
        content: "",
        model: "harbor/harbor-reason",
        thinking:
          "The answer depends on the forecast, which I do not know. Ask the weather tool for Saturday.",
        toolCalls: [
          { id: "call_1", type: "function", function: { name: "forecast", arguments: '{"day":"saturday"}' } },
        ],
        tokensUsed: 61,
      },
      { role: "tool", content: '{"wind_kmh":18,"rain_mm":0,"waves_m":0.4}', tokensUsed: 20 },
      {
        role: "assistant",
        content: "Yes: a light breeze, no rain and calm water. Take the early boat, it is the emptiest.",
        model: "harbor/harbor-reason",
        thinking: "18 km/h and 0.4 m are comfortable for a ferry.",
        tokensUsed: 74,
      },
    ],
  },
  {
    owner: "ada",
    title: "What is in this photo?",
    messages: [
      {
        role: "user",
        content: "Which tree is this?",
        images: [{ url: "https://example.com/leaf.jpg", alt: "A lobed leaf on a table" }],
        tokensUsed: 310,
      },
      {
        role: "assistant",
        content: "An oak: the lobes are rounded and the stem is short.",
        model: "meadow/meadow-pro",
        tokensUsed: 28,
      },
    ],
  },
  {
    owner: "grace",
    title: "A name for the release",
    messages: [
      { role: "user", content: "Suggest three names for our first release.", tokensUsed: 11 },
      {
        role: "assistant",
        content: "Cornerstone, Keystone, Groundwork.",
        model: "meadow/meadow-flash",
        tokensUsed: 12,
      },
    ],
  },
];
