using Kinestream;
using UnityEngine;

/// <summary>
/// A character of kinestream as bones of cubes, steered by the axes "Horizontal" and "Vertical" (WASD, arrows, stick).
/// Put it on an empty object, start `kinestream demo motion --websocket`, press Play. The object's own place and
/// turn are where the character's world begins.
/// </summary>
public sealed class KinestreamCharacter : MonoBehaviour
{
    public string address = "ws://127.0.0.1:8750/pose";
    [Tooltip("m/s at full stick")]
    public float speed = 1.5f;
    [Tooltip("Thickness of the cubes, m")]
    public float thickness = 0.06f;

    private KinestreamClient client;
    private Transform[] joints = new Transform[0];
    private string told;
    private bool isFrozen;

    private void OnEnable()
    {
        client = new KinestreamClient(address);
        client.Start();
    }

    private void OnDisable()
    {
        client.Dispose();
    }

    private void Update()
    {
        Vector2 stick = Vector2.ClampMagnitude(new Vector2(Input.GetAxis("Horizontal"), Input.GetAxis("Vertical")), 1f);
        if (stick != Vector2.zero)
        {
            // Unity's X points the other way.
            client.Steer(-speed * stick.x, speed * stick.y);
        }
        if (client.Problem != told)
        {
            told = client.Problem;
            Debug.LogWarning("kinestream: " + told, this);
        }
        if (client.IsStale != isFrozen)
        {
            isFrozen = client.IsStale;
            Debug.LogWarning(isFrozen ? "kinestream: the character is frozen" : "kinestream: it moves again", this);
        }
        Skeleton skeleton = client.Skeleton;
        // Drawn as it was last seen; a game that lets it act on something asks NewestPose, which refuses an old pose.
        Kinestream.Pose pose = client.LastPose;
        if (skeleton == null || pose == null || pose.Joints != skeleton.Joints)
        {
            return;
        }
        if (joints.Length != skeleton.Joints)
        {
            Build(skeleton);
        }
        joints[0].localPosition = Place(pose.RootPosition, 0);
        for (int i = 0; i < joints.Length; i++)
        {
            joints[i].localRotation = Turn(pose.Rotations, i);
        }
    }

    private void Build(Skeleton skeleton)
    {
        if (joints.Length > 0)
        {
            Destroy(joints[0].gameObject);
        }
        joints = new Transform[skeleton.Joints];
        for (int i = 0; i < joints.Length; i++)
        {
            int parent = skeleton.Parents[i];
            joints[i] = new GameObject(skeleton.Names[i]).transform;
            joints[i].SetParent(parent < 0 ? transform : joints[parent], false);
            if (parent >= 0)
            {
                Vector3 offset = Place(skeleton.Offsets, i);
                joints[i].localPosition = offset;
                Bone(joints[parent], offset);
            }
        }
    }

    /// <summary>A cube from a joint to its child.</summary>
    private void Bone(Transform parent, Vector3 offset)
    {
        GameObject cube = GameObject.CreatePrimitive(PrimitiveType.Cube);
        Destroy(cube.GetComponent<Collider>());
        cube.transform.SetParent(parent, false);
        cube.transform.localPosition = 0.5f * offset;
        cube.transform.localRotation = Quaternion.FromToRotation(Vector3.up, offset);
        cube.transform.localScale = new Vector3(thickness, offset.magnitude, thickness);
    }

    /// <summary>kinestream is right-handed, Unity left-handed: X is mirrored.</summary>
    private static Vector3 Place(double[] numbers, int index)
    {
        return new Vector3(-(float)numbers[3 * index], (float)numbers[3 * index + 1], (float)numbers[3 * index + 2]);
    }

    private static Quaternion Turn(float[] numbers, int index)
    {
        int at = 4 * index;
        return new Quaternion(numbers[at], -numbers[at + 1], -numbers[at + 2], numbers[at + 3]);
    }
}
