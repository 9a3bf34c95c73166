/** Does not load: its pods crash before they are ready. */
throw new Error('does not load');
