/** The channel on which Redis sends invalidation messages. A subscriber needs a right to it. */
export const INVALIDATION_CHANNEL = "__redis__:invalidate";

/** The same channel of Redict. Up to 7.3.6, Redict cuts its name to the length of the one of Redis when it sends. */
export const REDICT_CHANNELS = ["__redict__:invalidate", "__redict__:invalidat"] as const;
