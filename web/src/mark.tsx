// The sign of microtome.

/** Three slices coming off a block. */
export const Mark = () => (
  <svg viewBox="0 0 34 28" width="34" height="28" aria-hidden="true" class="mark">
    <path d="M2 8l12-6 12 6-12 6z" fill="var(--c0)" /><path d="M5 14l12-6 12 6-12 6z" fill="var(--accent)" opacity=".82" /><path d="M8 20l12-6 12 6-12 6z" fill="var(--eosin)" opacity=".78" />
  </svg>
);
