// Choices that outlive a reload; a browser that stores nothing for files on disk just forgets them.

export function kept(key: string): string | null {
  try { return localStorage.getItem(`microtome:${key}`); } catch { return null; }
}

export function keep(key: string, value: string): void {
  try { localStorage.setItem(`microtome:${key}`, value); } catch { /* storage is refused for this page: the choice holds until it closes */ }
}
