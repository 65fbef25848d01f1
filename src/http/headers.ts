/** Headers of a response. Each name is spelled in one way only, so that later headers replace earlier ones. */
export type Headers = Readonly<Record<string, string>>;
