/** What was noticed, as a line for people: `bridge: message key="value"`. @param name what it is about */
export const logLine = (
  name: string,
  message: string,
  fields: Readonly<Record<string, unknown>> = {},
): string => {
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`)
  return `${name}: ${message}${rest.join('')}\n`
}
