export const ASSETS: Readonly<Record<string, { readonly type: string; readonly body: string }>> = {};
