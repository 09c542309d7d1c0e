/** Thrown for a request whose whole response is an error. */
export class RequestError extends Error {
  /** The HTTP status. */
  readonly status: number;

  /** Makes an error with an HTTP status. */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
