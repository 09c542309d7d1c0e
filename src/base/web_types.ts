/**
 * Types of the web platform in public functions, which also work in applications without DOM types.
 *
 * Each is the global type of that name, as the types of a browser, Node, Bun, Deno or Workers declare it. If none
 * declares it, the name would be an error in our declarations, so a type with the members that we use replaces it.
 */

// biome-ignore-start lint/suspicious/noExplicitAny: these types have to fit every implementation.

/** `AbortSignal`. */
export type Signal = typeof globalThis extends { readonly AbortSignal: { readonly prototype: infer T } }
  ? T
  : {
      readonly aborted: boolean;
      readonly reason: any;
      onabort: any;
      throwIfAborted(): void;
      addEventListener(type: string, listener: any, options?: any): void;
      removeEventListener(type: string, listener: any, options?: any): void;
      dispatchEvent(event: any): boolean;
    };

/** `Request`. */
export type WebRequest = typeof globalThis extends { readonly Request: { readonly prototype: infer T } }
  ? T
  : {
      readonly method: string;
      readonly url: string;
      readonly headers: any;
      readonly body: any;
      readonly signal: any;
      arrayBuffer(): Promise<ArrayBuffer>;
    };

/** `Response`. */
export type WebResponse = typeof globalThis extends { readonly Response: { readonly prototype: infer T } }
  ? T
  : {
      readonly status: number;
      readonly headers: any;
      readonly body: any;
      arrayBuffer(): Promise<ArrayBuffer>;
      json(): Promise<any>;
      text(): Promise<string>;
    };

// biome-ignore-end lint/suspicious/noExplicitAny: see above.

/** A fetch-style request handler. */
export type FetchHandler = (request: WebRequest) => WebResponse | Promise<WebResponse>;
