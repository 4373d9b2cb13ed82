using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text;
using Kinestream;

/// <summary>The codec on the golden bytes of the Rust crate, and on bytes that are no message.</summary>
internal static class CodecTests
{
    private sealed class Row
    {
        internal string Name;
        internal byte[] Bytes;
        internal object Mirror;
    }

    internal static void Run(string golden)
    {
        List<Row> rows = Read(golden);
        Check.That(rows.Count >= 13, "thirteen golden messages");
        foreach (Row row in rows)
        {
            Message message = Message.Decode(row.Bytes);
            string expected = Canonical(row.Mirror);
            Check.Equal(expected, Canonical(Mirrored(message)), row.Name);
            Check.That(message.Encode().SequenceEqual(row.Bytes), row.Name + ": the same bytes again");
        }
        WhatIsNoMessage(rows);
        Bounds(rows);
        Names();
        JsonTexts();
        Skeletons();
        Console.WriteLine("codec: " + rows.Count + " golden messages, and what is none");
    }

    private static void WhatIsNoMessage(List<Row> rows)
    {
        Random draw = new Random(1);
        foreach (Row row in rows)
        {
            for (int length = 0; length < row.Bytes.Length; length++)
            {
                byte[] cut = row.Bytes.Take(length).ToArray();
                Check.Throws<WireException>(() => Message.Decode(cut), row.Name + " cut to " + length);
            }
            byte[] longer = row.Bytes.Concat(new byte[] { 0 }).ToArray();
            Check.Throws<WireException>(() => Message.Decode(longer), row.Name + " with a byte more");
            longer[36]++;
            Check.Throws<WireException>(() => Message.Decode(longer), row.Name + " with a longer body");
            for (int round = 0; round < 2000; round++)
            {
                byte[] changed = (byte[])row.Bytes.Clone();
                for (int i = draw.Next(1, 7); i > 0; i--)
                {
                    changed[draw.Next(changed.Length)] = (byte)draw.Next(256);
                }
                try
                {
                    Check.Equal(changed.Length, Message.Decode(changed).Encode().Length, row.Name + " changed");
                }
                catch (WireException)
                {
                    // Refused, as it should; anything else fails the test.
                }
            }
        }
        byte[] action = rows.Single(row => row.Name == "action").Bytes;
        foreach (Tuple<int, byte, string> wrong in new[]
        {
            Tuple.Create(0, (byte)0, "magic"), Tuple.Create(4, (byte)2, "version: expected 1, found 2"),
            Tuple.Create(6, (byte)99, "kind: expected 1 to 8, found 99"),
        })
        {
            byte[] changed = (byte[])action.Clone();
            changed[wrong.Item1] = wrong.Item2;
            string said = Check.Throws<WireException>(() => Message.Decode(changed), wrong.Item3);
            Check.That(said.StartsWith(wrong.Item3, StringComparison.Ordinal), said);
        }
    }

    private static void Bounds(List<Row> rows)
    {
        Pose pose = new Pose { Rotations = new[] { 0f, 0f, 0f, 1f } };
        Check.That(pose.Encode().Length == 136, "a pose of one joint takes 136 bytes");
        pose.Rotations[3] = 1.5f;
        string said = Check.Throws<WireException>(() => pose.Encode(), "a long quaternion");
        Check.Equal("rotations[0]: expected a quaternion of unit length, found length 1.5", said, "message");
        pose.Rotations[3] = float.NaN;
        Check.Throws<WireException>(() => pose.Encode(), "a quaternion that is not finite");
        Control control = new Control { Mode = ControlMode.Path };
        Check.Throws<WireException>(() => control.Encode(), "a path without points");
        control.Points = new[] { new PathPoint { TimeS = 1f }, new PathPoint { TimeS = 1f } };
        Check.Throws<WireException>(() => control.Encode(), "times that do not rise");
        control.Points[1].TimeS = 2f;
        control.Diversity = -1f;
        Check.Throws<WireException>(() => control.Encode(), "a negative knob");
        Plan plan = (Plan)Message.Decode(rows.Single(row => row.Name == "plan").Bytes);
        plan.Committed = 4;
        Check.Throws<WireException>(() => plan.Encode(), "more committed than there is");
        Observation seen = new Observation { Name = "state", Values = new[] { double.NaN, double.PositiveInfinity } };
        Check.That(double.IsNaN(((Observation)Message.Decode(seen.Encode())).Values[0]), "NaN passes in observations");
    }

    private static void Names()
    {
        foreach (string name in new[] { "", new string('x', 33), "a\nb", null })
        {
            Observation seen = new Observation { Name = name, Values = new[] { 1.0 } };
            Check.Throws<WireException>(() => seen.Encode(), "the name " + name);
        }
    }

    private static void JsonTexts()
    {
        object value = Json.Parse(" {\"a\": [1, -2.5e1, true, null, \"\\u00e9\\n\"], \"b\": {}} ");
        Check.Equal("{a: [1, -25, True, null, é\n], b: {}}", Canonical(value), "JSON");
        string nested = new string('[', 100000);
        foreach (string wrong in new[] { "", "[", "[1,]", "{\"a\" 1}", "\"a", "1e999", "+1", "tru", "[1] 2", "\"\\x\"", nested })
        {
            Check.Throws<WireException>(() => Json.Parse(wrong), "the text " + wrong);
        }
        Check.Equal("\"a\\\"\\\\\\u000a\"", Json.Quote("a\"\\\n"), "quoted");
        Check.Equal("-0.5", Json.Number(-0.5f), "a number");
        Check.Throws<WireException>(() => Json.Number(float.NaN), "NaN");
    }

    private static void Skeletons()
    {
        const string Two = "{\"joints\": [{\"name\": \"a\", \"parent\": null, \"offset\": [0, 1, 0]}, "
            + "{\"name\": \"b\", \"parent\": 0, \"offset\": [0, 0, 2], \"new\": 1}], \"ends\": []}";
        Skeleton skeleton = Skeleton.Parse(Two);
        Check.Equal(2, skeleton.Joints, "joints");
        float half = (float)Math.Sqrt(0.5);
        Pose pose = new Pose { RootPosition = new[] { 1.0, 2.0, 3.0 } };
        // A quarter turn to the left, about Y: from +Z to +X.
        pose.Rotations = new[] { 0f, half, 0f, half, 0f, 0f, 0f, 1f };
        double[] places = skeleton.Places(pose);
        double[] expected = { 1, 2, 3, 3, 2, 3 };
        for (int i = 0; i < 6; i++)
        {
            Check.That(Math.Abs(places[i] - expected[i]) < 1e-6, "place " + i + ": " + places[i]);
        }
        pose.Rotations = new[] { 0f, 0f, 0f, 1f };
        Check.Throws<WireException>(() => skeleton.Places(pose), "a pose of another skeleton");
        foreach (string wrong in new[]
        {
            "[]", "{}", "{\"joints\": []}", Two.Replace("null", "0"), Two.Replace("\"parent\": 0", "\"parent\": 1"),
            Two.Replace("\"b\"", "\"a\""), Two.Replace("[0, 0, 2]", "[0, 0]"), Two.Replace("[0, 0, 2]", "[0, 0, null]"),
            Two.Replace("\"parent\": 0", "\"parent\": 0.5"), Two.Replace("\"b\"", "null"),
        })
        {
            Check.Throws<WireException>(() => Skeleton.Parse(wrong), wrong);
        }
    }

    private static List<Row> Read(string golden)
    {
        List<Row> rows = new List<Row>();
        foreach (Dictionary<string, object> row in (List<object>)Json.Parse(File.ReadAllText(golden)))
        {
            string hex = string.Concat(((List<object>)row["bytes"]).Cast<string>());
            byte[] bytes = new byte[hex.Length / 2];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            }
            rows.Add(new Row { Name = (string)row["name"], Bytes = bytes, Mirror = row["json"] });
        }
        return rows;
    }

    /// <summary>The JSON mirror of docs/WIRE.md, from a decoded message.</summary>
    private static Dictionary<string, object> Mirrored(object message)
    {
        Dictionary<string, object> mirror = new Dictionary<string, object>();
        foreach (FieldInfo field in message.GetType().GetFields(BindingFlags.Public | BindingFlags.Instance))
        {
            mirror[Snake(field.Name)] = Plain(field.GetValue(message));
        }
        if (message is Message)
        {
            mirror["kind"] = Snake(message.GetType().Name);
        }
        Observation observation = message as Observation;
        if (observation != null)
        {
            mirror.Remove("is_double");
            mirror["element"] = observation.IsDouble ? "f64" : "f32";
        }
        Image image = message as Image;
        if (image != null)
        {
            mirror["data"] = string.Concat(image.Data.Select(part => part.ToString("x2")));
        }
        Pose pose = message as Pose;
        if (pose != null)
        {
            List<object> rotations = new List<object>();
            for (int i = 0; i < pose.Rotations.Length; i += 4)
            {
                rotations.Add(Plain(pose.Rotations.Skip(i).Take(4).ToArray()));
            }
            mirror["rotations"] = rotations;
        }
        Command command = message as Command;
        if (command != null)
        {
            if (command.Request != Request.Reset)
            {
                mirror.Remove("seed");
            }
            if (command.Request != Request.MoveBlock)
            {
                mirror.Remove("x");
                mirror.Remove("y");
                mirror.Remove("angle");
            }
        }
        return mirror;
    }

    private static object Plain(object value)
    {
        if (value is string)
        {
            return value;
        }
        if (value is Enum)
        {
            return Snake(value.ToString());
        }
        IEnumerable values = value as IEnumerable;
        if (values != null)
        {
            return values.Cast<object>().Select(Plain).ToList();
        }
        if (value is Stamp || value is PathPoint)
        {
            return Mirrored(value);
        }
        double number = Convert.ToDouble(value);
        return double.IsNaN(number) ? null : (object)number;
    }

    private static string Snake(string name)
    {
        StringBuilder snake = new StringBuilder();
        for (int i = 0; i < name.Length; i++)
        {
            snake.Append(char.IsUpper(name[i]) && i > 0 ? "_" : "").Append(char.ToLowerInvariant(name[i]));
        }
        return snake.ToString();
    }

    /// <summary>One text for equal values, members in order of their names.</summary>
    private static string Canonical(object value)
    {
        Dictionary<string, object> members = value as Dictionary<string, object>;
        if (members != null)
        {
            IEnumerable<string> sorted = members.OrderBy(member => member.Key, StringComparer.Ordinal)
                .Select(member => member.Key + ": " + Canonical(member.Value));
            return "{" + string.Join(", ", sorted) + "}";
        }
        List<object> values = value as List<object>;
        if (values != null)
        {
            return "[" + string.Join(", ", values.Select(Canonical)) + "]";
        }
        return value == null ? "null" : Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture);
    }
}
