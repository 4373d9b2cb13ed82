using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Kinestream
{
    /// <summary>
    /// Reads JSON (RFC 8259), since .NET Standard 2.0 has no reader: null, bool, double, string, List&lt;object&gt; and
    /// Dictionary&lt;string, object&gt;. Anything else is a WireException, whatever the text.
    /// </summary>
    public sealed class Json
    {
        private const int MaxDepth = 64;

        private readonly string text;
        private int at;

        private Json(string text)
        {
            this.text = text;
        }

        /// <summary>The value of a text.</summary>
        public static object Parse(string text)
        {
            Json reader = new Json(text);
            object value = reader.Value(0);
            reader.Space();
            if (reader.at != text.Length)
            {
                throw reader.Problem("the end");
            }
            return value;
        }

        /// <summary>A text as JSON writes it.</summary>
        public static string Quote(string text)
        {
            StringBuilder quoted = new StringBuilder("\"");
            foreach (char letter in text)
            {
                if (letter == '"' || letter == '\\')
                {
                    quoted.Append('\\').Append(letter);
                }
                else if (letter < ' ')
                {
                    quoted.Append("\\u").Append(((int)letter).ToString("x4", CultureInfo.InvariantCulture));
                }
                else
                {
                    quoted.Append(letter);
                }
            }
            return quoted.Append('"').ToString();
        }

        /// <summary>A finite number as JSON writes it, at the precision of a float.</summary>
        public static string Number(float number)
        {
            Fields.Finite("number", number);
            return number.ToString("R", CultureInfo.InvariantCulture);
        }

        private object Value(int depth)
        {
            if (depth > MaxDepth)
            {
                throw Problem("at most " + MaxDepth + " levels");
            }
            Space();
            switch (at < text.Length ? text[at] : '\0')
            {
                case '{': return Object(depth);
                case '[': return List(depth);
                case '"': return String();
                case 't': return Word("true", true);
                case 'f': return Word("false", false);
                case 'n': return Word("null", null);
                default: return NumberValue();
            }
        }

        private object Object(int depth)
        {
            Dictionary<string, object> members = new Dictionary<string, object>();
            at++;
            if (Next('}'))
            {
                return members;
            }
            do
            {
                Space();
                string name = String();
                if (!Next(':'))
                {
                    throw Problem("a colon");
                }
                members[name] = Value(depth + 1);
            }
            while (Next(','));
            if (!Next('}'))
            {
                throw Problem("a comma or a closing brace");
            }
            return members;
        }

        private object List(int depth)
        {
            List<object> values = new List<object>();
            at++;
            if (Next(']'))
            {
                return values;
            }
            do
            {
                values.Add(Value(depth + 1));
            }
            while (Next(','));
            if (!Next(']'))
            {
                throw Problem("a comma or a closing bracket");
            }
            return values;
        }

        private string String()
        {
            if (at >= text.Length || text[at] != '"')
            {
                throw Problem("a string");
            }
            StringBuilder read = new StringBuilder();
            for (at++; at < text.Length; at++)
            {
                char letter = text[at];
                if (letter == '"')
                {
                    at++;
                    return read.ToString();
                }
                if (letter < ' ')
                {
                    break;
                }
                read.Append(letter == '\\' ? Escaped() : letter);
            }
            throw Problem("the rest of a string");
        }

        private char Escaped()
        {
            at++;
            char letter = at < text.Length ? text[at] : '\0';
            int plain = "\"\\/bfnrt".IndexOf(letter);
            if (plain >= 0)
            {
                return "\"\\/\b\f\n\r\t"[plain];
            }
            ushort code;
            if (letter == 'u' && at + 4 < text.Length && ushort.TryParse(
                text.Substring(at + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out code))
            {
                at += 4;
                return (char)code;
            }
            throw Problem("an escape");
        }

        private object NumberValue()
        {
            int begin = at;
            while (at < text.Length && "+-.0123456789eE".IndexOf(text[at]) >= 0)
            {
                at++;
            }
            double number;
            const NumberStyles Style =
                NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
            string digits = text.Substring(begin, at - begin);
            bool isRead = double.TryParse(digits, Style, CultureInfo.InvariantCulture, out number);
            if (!isRead || double.IsInfinity(number) || digits[0] == '+')
            {
                at = begin;
                throw Problem("a value");
            }
            return number;
        }

        private object Word(string word, object value)
        {
            if (string.CompareOrdinal(text, at, word, 0, word.Length) != 0)
            {
                throw Problem(word);
            }
            at += word.Length;
            return value;
        }

        private bool Next(char expected)
        {
            Space();
            if (at < text.Length && text[at] == expected)
            {
                at++;
                return true;
            }
            return false;
        }

        private void Space()
        {
            while (at < text.Length && " \t\r\n".IndexOf(text[at]) >= 0)
            {
                at++;
            }
        }

        private WireException Problem(string expected)
        {
            return new WireException("JSON, letter " + (at + 1) + ": expected " + expected);
        }
    }
}
