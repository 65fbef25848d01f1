/** What jobs ask of a payment provider. */
export interface PaymentProvider {
  /** As the database names it, such as `stripe`. */
  readonly name: string;
  /**
   * Ends a subscription at once: no further invoice, nothing given back. One that has ended, or that the provider does not
   * know, counts as ended.
   * @throws Error whose message names the kind of failure and quotes nothing of the request
   */
  cancelSubscription(id: string): Promise<void>;
}
