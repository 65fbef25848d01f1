/** The payment provider operations that jobs use. */
export interface PaymentProvider {
  /** Its name in the database, such as `stripe`. */
  readonly name: string;
  /**
   * Ends a subscription immediately, without further invoices or refunds. A subscription that has ended, or that the
   * provider does not know, counts as ended.
   * @throws Error whose message names the kind of failure without quoting the request
   */
  cancelSubscription(id: string): Promise<void>;
}
