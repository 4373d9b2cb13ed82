using System.Collections.Generic;

namespace Kinestream
{
    /// <summary>The joints that poses turn, as info/skeleton and the WebSocket's first message tell them.</summary>
    public sealed class Skeleton
    {
        private const int MaxJoints = 1024;

        /// <summary>Unique names, parents before their children.</summary>
        public readonly string[] Names;
        /// <summary>Index of the parent; -1 for joint 0 alone.</summary>
        public readonly int[] Parents;
        /// <summary>m, x, y, z in the parent's frame, three numbers per joint.</summary>
        public readonly double[] Offsets;

        private Skeleton(int joints)
        {
            Names = new string[joints];
            Parents = new int[joints];
            Offsets = new double[3 * joints];
        }

        /// <summary>Number of joints.</summary>
        public int Joints { get { return Names.Length; } }

        /// <summary>Reads the JSON text. Unknown fields are skipped. Throws WireException if it is no skeleton.</summary>
        public static Skeleton Parse(string json)
        {
            List<object> joints = Member<List<object>>(Json.Parse(json), "joints");
            Fields.InRange("joints", joints.Count, 1, MaxJoints);
            Skeleton skeleton = new Skeleton(joints.Count);
            HashSet<string> seen = new HashSet<string>();
            for (int i = 0; i < joints.Count; i++)
            {
                string name = Member<string>(joints[i], "name");
                if (!seen.Add(name))
                {
                    throw new WireException("joints[" + i + "].name: expected unique names, found " + name + " again");
                }
                skeleton.Names[i] = name;
                object parent = Member<object>(joints[i], "parent");
                bool isBelow = parent is double && (double)parent >= 0 && (double)parent < i;
                if (i == 0 ? parent != null : !(isBelow && (double)parent == (int)(double)parent))
                {
                    throw new WireException("joints[" + i + "].parent: expected an index below the joint's own");
                }
                skeleton.Parents[i] = i == 0 ? -1 : (int)(double)parent;
                List<object> offset = Member<List<object>>(joints[i], "offset");
                Fields.Size("joints[" + i + "].offset", 3, offset.Count);
                for (int axis = 0; axis < 3; axis++)
                {
                    if (!(offset[axis] is double))
                    {
                        throw new WireException("joints[" + i + "].offset: expected three numbers");
                    }
                    skeleton.Offsets[3 * i + axis] = (double)offset[axis];
                }
            }
            return skeleton;
        }

        /// <summary>
        /// Where every joint is in the world, m, three numbers per joint: p[j] = p[parent] + R[parent] offset[j].
        /// Throws WireException if the pose has another count of joints.
        /// </summary>
        public double[] Places(Pose pose)
        {
            Fields.Size("joints of the pose", Joints, pose.Joints);
            double[] places = new double[3 * Joints];
            double[] turns = new double[4 * Joints];
            for (int joint = 0; joint < Joints; joint++)
            {
                double[] turn = new double[4];
                for (int part = 0; part < 4; part++)
                {
                    turn[part] = pose.Rotations[4 * joint + part];
                }
                double[] place = pose.RootPosition;
                int parent = Parents[joint];
                if (parent >= 0)
                {
                    double[] above = Part(turns, 4, parent);
                    double[] moved = Turned(above, Part(Offsets, 3, joint));
                    place = new double[3];
                    for (int axis = 0; axis < 3; axis++)
                    {
                        place[axis] = places[3 * parent + axis] + moved[axis];
                    }
                    turn = Product(above, turn);
                }
                place.CopyTo(places, 3 * joint);
                turn.CopyTo(turns, 4 * joint);
            }
            return places;
        }

        private static double[] Part(double[] values, int width, int index)
        {
            double[] part = new double[width];
            System.Array.Copy(values, width * index, part, 0, width);
            return part;
        }

        /// <summary>Quaternions x, y, z, w: first b, then a.</summary>
        private static double[] Product(double[] a, double[] b)
        {
            return new[]
            {
                a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1],
                a[3] * b[1] + a[1] * b[3] + a[2] * b[0] - a[0] * b[2],
                a[3] * b[2] + a[2] * b[3] + a[0] * b[1] - a[1] * b[0],
                a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2],
            };
        }

        /// <summary>v + 2 w (u x v) + 2 u x (u x v), with q = (u, w).</summary>
        private static double[] Turned(double[] q, double[] v)
        {
            double[] once = Cross(q, v);
            double[] twice = Cross(q, once);
            double[] turned = new double[3];
            for (int axis = 0; axis < 3; axis++)
            {
                turned[axis] = v[axis] + 2.0 * (q[3] * once[axis] + twice[axis]);
            }
            return turned;
        }

        private static double[] Cross(double[] a, double[] b)
        {
            return new[]
            {
                a[1] * b[2] - a[2] * b[1],
                a[2] * b[0] - a[0] * b[2],
                a[0] * b[1] - a[1] * b[0],
            };
        }

        private static T Member<T>(object value, string name)
            where T : class
        {
            Dictionary<string, object> members = value as Dictionary<string, object>;
            object member;
            if (members == null || !members.TryGetValue(name, out member) || (member != null && !(member is T)))
            {
                throw new WireException("skeleton: expected a field " + name + " of another type, or at all");
            }
            if (member == null && typeof(T) != typeof(object))
            {
                throw new WireException("skeleton: expected a field " + name + ", found null");
            }
            return (T)member;
        }
    }
}
