/** The channel on which Redis sends invalidation messages. A subscriber needs permission for it. */
export const INVALIDATION_CHANNEL = "__redis__:invalidate";

/** The channel's names in Redict, which up to 7.3.6 cuts the name of its messages to the length of Redis's. */
export const REDICT_CHANNELS = ["__redict__:invalidate", "__redict__:invalidat"] as const;
